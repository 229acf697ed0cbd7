"""Does a model keep an instruction over many turns?  Consistency by turn (Llama 2 paper, 3.3, table 30)."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.constraint import Constraint
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.report.intervals import wilson
from alignment.train.session import Session
from gatt.result import Consistency, HeldDialogue, TurnShare
from gatt.settings import GattSettings
from gatt.synthesize import hold_dialogues, plan_dialogues

_EXAMPLES = 4  # dialogues that the report may show


def consistency_by_turn(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
) -> Consistency:
    """Hold held-out dialogues with the instruction given once, and check every answer.

    Args:
        name: "before" or "after"; the plans are the same for both.

    Returns:
        The share that keeps the instruction by turn, and some dialogues.
    """
    plans = plan_dialogues(
        dialogues,
        constraints,
        count=settings.evaluation_dialogues,
        turns=settings.evaluation_turns,
        shorten_fraction=0.0,
        seed=session.seed,
        name="evaluation",
    )
    greedy = settings.sampling.greedy()
    held = hold_dialogues(policy, plans, repeat_instruction=False, sampling=greedy, session=session, name=name)
    rows = []
    for turn in range(settings.evaluation_turns):
        verdicts = [
            plan.constraint.satisfied(answers[turn])
            for plan, answers in zip(plans, held, strict=True)
            if len(answers) > turn
        ]
        if verdicts:
            interval = wilson(sum(verdicts), len(verdicts))
            rows.append(
                TurnShare(
                    turn=turn + 1,
                    value=interval.value,
                    low=interval.low,
                    high=interval.high,
                    dialogues=len(verdicts),
                )
            )
    examples = [
        HeldDialogue(
            instruction=plan.constraint.instruction,
            exchanges=tuple(zip(plan.user_turns, answers, strict=False)),
            kept=tuple(plan.constraint.satisfied(answer) for answer in answers),
        )
        for plan, answers in list(zip(plans, held, strict=True))[:_EXAMPLES]
    ]
    return Consistency(turns=tuple(rows), examples=tuple(examples))
