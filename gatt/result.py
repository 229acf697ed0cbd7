"""What Ghost Attention comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.train.result import TrainingResult


@dataclass(frozen=True, kw_only=True)
class TurnShare:
    """How many answers of one turn keep the instruction.

    Attributes:
        turn: from 1.
        low, high: 95 % Wilson interval.
        dialogues: that came so far.
    """

    turn: int
    value: float
    low: float
    high: float
    dialogues: int


@dataclass(frozen=True, kw_only=True)
class HeldDialogue:
    """One evaluation dialogue, to show.

    Attributes:
        exchanges: (user, answer) by turn.
        kept: by turn, whether the answer keeps the instruction.
    """

    instruction: str
    exchanges: tuple[tuple[str, str], ...]
    kept: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Whether a model keeps an instruction over many turns; `turns` ends where no dialogue came further."""

    turns: tuple[TurnShare, ...]
    examples: tuple[HeldDialogue, ...]


@dataclass(frozen=True, kw_only=True)
class KindConsistency:
    """Whether instructions of one kind are kept.

    Attributes:
        group: what training has seen of them (`gatt/groups.py`).
        unasked: of the answers given under instructions of other kinds, those that these would pass all the same; None
            where there are none.  What is kept is worth what it has above this.
    """

    group: str
    kind: str
    turns: tuple[TurnShare, ...]
    unasked: float | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Dialogues whose instruction was exchanged for another.

    Attributes:
        from_turn: the turn from which the second stands, from 1.
        standing: answers that keep the one that stands at their turn.
        first: answers that keep the first one.
    """

    from_turn: int
    standing: tuple[TurnShare, ...]
    first: tuple[TurnShare, ...]


@dataclass(frozen=True, kw_only=True)
class InstructionAttention:
    """How strongly the answers of later turns look at the instruction: the strongest of all layers and heads.

    Attributes:
        dialogues: read.
        by_turn: [n] of the tokens that predict turn i's answer, the mean of the strongest weight on the system message.
        by_part: [n, n + 1] the same on every part that comes before: the system message, then turn 1 … n; 0 where a
            part comes later.
    """

    dialogues: int
    by_turn: tuple[float, ...]
    by_part: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model, before or after.

    Attributes:
        kept: consistency by group.
        by_kind: empty where groups were not asked for.
    """

    kept: Mapping[str, Consistency]
    by_kind: tuple[KindConsistency, ...] = ()
    changed: Changed | None = None
    attention: InstructionAttention | None = None

    def extras(self) -> dict[str, Any]:
        """What was asked for beyond consistency by turn."""
        found: dict[str, Any] = {"by_kind": [asdict(one) for one in self.by_kind]} if self.by_kind else {}
        for name, value in (("changed", self.changed), ("attention", self.attention)):
            if value is not None:
                found[name] = asdict(value)
        return found


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """How the training dialogues came about.

    Attributes:
        planned: dialogues.
        complete: of them, those that came to a last answer.
        follow_share: of the complete ones, those whose last answer follows the instruction.
        kept: trained on.
    """

    planned: int
    complete: int
    follow_share: float
    kept: int

    def as_json(self) -> dict[str, float]:
        """The four as plain numbers."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class TurnSynthesis(Synthesis):
    """How dialogues came about whose turns were asked one by one (`compose: turns`).

    `complete` counts the dialogues that came to all turns within the context, `follow_share` is that of the turns that
    were asked, those whose first answer was kept.

    Attributes:
        turns_planned: user turns of all dialogues.
        turns_kept: of them, those with an answer that was kept.
        answers_drawn: over all attempts.
        left_out: why turns were left out (of the last attempt), and how many.
        cut_to_the_context: dialogues that end before their last kept turn, because the context was full.
    """

    turns_planned: int
    turns_kept: int
    answers_drawn: int
    left_out: Mapping[str, int]
    cut_to_the_context: int

    def as_json(self) -> dict[str, float]:
        """Plain numbers; every reason has its own."""
        plain = asdict(self)
        reasons = plain.pop("left_out")
        numbers = {name: float(value) for name, value in plain.items()}
        return numbers | {f"left_out: {reason}": float(count) for reason, count in reasons.items()}


def last_common_turn(before: Sequence[TurnShare], after: Sequence[TurnShare]) -> tuple[TurnShare, TurnShare] | None:
    """The last turn that half of the dialogues or more reached, before and after; None if none.

    Later ones, where the context ran out for most, are told with their numbers, but a share of so few heads nothing.
    """
    later = {share.turn: share for share in after}
    for share in reversed(before):
        other = later.get(share.turn)
        if other is not None and all(
            2 * at.dialogues >= all_[0].dialogues for at, all_ in ((share, before), (other, after))
        ):
            return share, other
    return None


@dataclass(frozen=True, kw_only=True)
class GattResult:
    """A finished GAtt stage.

    Attributes:
        before, after: consistency with `seen` instructions, and with `unseen` ones where there are any; or by group.
        training: the fine-tuning.
        more: by "before" and "after": `by_kind`, `changed`, `attention`, as far as they were asked for.
    """

    before: Mapping[str, Consistency]
    after: Mapping[str, Consistency]
    synthesis: Synthesis
    training: TrainingResult
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        pair = last_common_turn(self.before["seen"].turns, self.after["seen"].turns)
        if pair is None:
            return self.training.headline
        return f"instruction kept at turn {pair[0].turn}: {pair[0].value:.0%} -> {pair[1].value:.0%}"

    def evaluation_as_json(self) -> dict[str, Any]:
        """What `gatt.json` holds: all but the fine-tuning."""
        return {
            "before": {kind: asdict(found) for kind, found in self.before.items()},
            "after": {kind: asdict(found) for kind, found in self.after.items()},
            "synthesis": self.synthesis.as_json(),
            **({"more": dict(self.more)} if self.more else {}),
        }

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds."""
        return {**self.evaluation_as_json(), **self.training.as_json(), "headline": self.headline}
