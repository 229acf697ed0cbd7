"""Which dialogues Ghost Attention makes: their user turns, their instruction, and how they are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.constraint import Constraint
from alignment.errors import DataError
from alignment.randomness import named_generator
from alignment.records import Dialogue, Source, Turn
from gatt.groups import training_constraints
from gatt.settings import GattSettings

_CONSTRAINT = "gatt-constraint"  # of a dialogue's meta: the instruction that it was made to keep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One dialogue to hold: its user turns and its instruction.

    Attributes:
        terse: whether training writes the instruction tersely.
        opens: by turn, whether it begins a dialogue of the data; one that does not follows up on the turn before it.
        wording: the instruction's full wording in this dialogue.
        then: an instruction that takes the first one's place as system message, from `then_from` (a turn, from 0) on.
    """

    id: str
    user_turns: tuple[str, ...]
    constraint: Constraint
    terse: bool
    source: Source
    opens: tuple[bool, ...]
    wording: str
    then: Constraint | None = None
    then_from: int = 0

    def stands(self, turn: int) -> Constraint:
        """The instruction that stands at a turn, from 0."""
        return self.then if self.then is not None and turn >= self.then_from else self.constraint


def plan_dialogues(
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    *,
    count: int,
    turns: int,
    shorten_fraction: float,
    seed: int,
    name: str,
) -> list[Plan]:
    """Choose user turns and instructions, evenly over the instructions.

    A dialogue with fewer user turns than wanted is followed by the next one's, so that any data gives
    long dialogues.

    Raises:
        DataError: there are no dialogues or no constraints.
    """
    if not dialogues or not constraints:
        raise DataError(f"GAtt needs dialogues ({len(dialogues)} given) and constraints ({len(constraints)} given)")
    draws = named_generator(seed, "gatt-plan", name)
    order = draws.permutation(len(dialogues))
    plans = []
    at = 0
    for i in range(count):
        texts: list[str] = []
        opens: list[bool] = []
        first = dialogues[order[at % len(order)]]
        while len(texts) < turns:
            asked = [turn.content for turn in dialogues[order[at % len(order)]].turns if turn.role == "user"]
            texts += asked
            opens += [place == 0 for place in range(len(asked))]
            at += 1
        constraint = constraints[i % len(constraints)]
        plans.append(
            Plan(
                id=f"gatt-{name}-{i:05d}",
                user_turns=tuple(texts[:turns]),
                constraint=constraint,
                terse=bool(draws.random() < shorten_fraction),
                source=first.source,
                opens=tuple(opens[:turns]),
                wording=_wording(constraint, seed, name, i),
            )
        )
    return plans


def _wording(constraint: Constraint, seed: int, name: str, number: int) -> str:
    """One of its wordings; drawn apart, so that a constraint with one wording moves no other draw."""
    wordings = constraint.wordings
    if len(wordings) == 1:
        return wordings[0]
    return wordings[int(named_generator(seed, "gatt-wording", name, number).integers(len(wordings)))]


def training_plans(
    dialogues: Sequence[Dialogue], constraints: Sequence[Constraint], settings: GattSettings, *, seed: int
) -> list[Plan]:
    """The training dialogues to make; `settings.combine` of them under two instructions at once."""
    count = settings.num_dialogues
    return plan_dialogues(
        dialogues,
        training_constraints(constraints, count=count, combine_share=settings.combine, seed=seed),
        count=count,
        turns=settings.turns,
        shorten_fraction=settings.shorten_fraction,
        seed=seed,
        name="train",
    )


def training_dialogue(plan: Plan, exchanges: Sequence[tuple[str, str]]) -> Dialogue:
    """A dialogue to train on, of (user, answer) by turn: the instruction as system message, terse where planned so."""
    turns: list[Turn] = []
    for user, answer in exchanges:
        turns += [Turn(role="user", content=user), Turn(role="assistant", content=answer)]
    system = plan.constraint.short if plan.terse else plan.wording
    return Dialogue(
        turns=tuple(turns), source=plan.source, id=plan.id, system=system, meta={_CONSTRAINT: plan.constraint.id}
    )


def is_synthesised(dialogue: Dialogue) -> bool:
    """Whether a dialogue was made here."""
    return _CONSTRAINT in dialogue.meta
