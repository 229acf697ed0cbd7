"""Does a model keep an instruction over many turns?  Consistency by turn (Llama 2 paper, 3.3, table 30)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignment.constraint import Constraint
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.report.intervals import wilson
from alignment.train.session import Session
from gatt.settings import GattSettings
from gatt.synthesize import hold_dialogues, plan_dialogues


def consistency_by_turn(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
) -> dict[str, Any]:
    """Hold held-out dialogues with the instruction given once, and check every answer.

    Args:
        name: "before" or "after"; the plans are the same for both.

    Returns:
        `turns`: for each turn `{turn, value, low, high, dialogues}` (Wilson, 95 %); `examples`: some dialogues.
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
    greedy: SamplingSettings = settings.sampling.model_copy(update={"temperature": 0.0})
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
                {
                    "turn": turn + 1,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "dialogues": len(verdicts),
                }
            )
    examples = [
        {
            "instruction": plan.constraint.instruction,
            "exchanges": [list(pair) for pair in zip(plan.user_turns, answers, strict=False)],
            "kept": [plan.constraint.satisfied(answer) for answer in answers],
        }
        for plan, answers in list(zip(plans, held, strict=True))[:4]
    ]
    return {"turns": rows, "examples": examples}
