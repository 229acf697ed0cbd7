"""What Ghost Attention comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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


def last_common_turn(before: Sequence[TurnShare], after: Sequence[TurnShare]) -> tuple[TurnShare, TurnShare] | None:
    """The last turn that both reached, before and after; None if none."""
    later = {share.turn: share for share in after}
    return next(((share, later[share.turn]) for share in reversed(before) if share.turn in later), None)


@dataclass(frozen=True, kw_only=True)
class GattResult:
    """A finished GAtt stage.

    Attributes:
        before, after: consistency with `seen` instructions, and with `unseen` ones where there are any.
        training: the fine-tuning.
    """

    before: Mapping[str, Consistency]
    after: Mapping[str, Consistency]
    synthesis: Synthesis
    training: TrainingResult

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
        }

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds."""
        return {**self.evaluation_as_json(), **self.training.as_json(), "headline": self.headline}
