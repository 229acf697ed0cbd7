"""Which versions keep an instruction: the same held-out dialogues held by every model of a run.

What no prompt of RLHF asks for, its fine-tuning may unlearn; the versions' other figures, whose prompts are RLHF's,
do not show that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from alignment.constraint import Constraint
from alignment.evaluate.settings import InstructionsSettings
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import load_policy
from alignment.records import Dialogue
from alignment.store.atomic import write_json
from alignment.train.compute import resolve_compute
from alignment.train.session import Session
from gatt.evaluate import consistency_by_turn
from gatt.kept import FILE
from gatt.result import Consistency
from gatt.settings import GattSamplingSettings, GattSettings


def instructions_by_version(
    checkpoints: Mapping[str, Path],
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: InstructionsSettings,
    sampling: SamplingSettings,
    session: Session,
) -> dict[str, Consistency]:
    """Consistency by turn of every model, the instruction given once (Llama 2 paper, 3.3, table 30).

    Args:
        checkpoints: name -> checkpoint, in the order of the report.
        dialogues: held out; their user turns are asked.
        settings: how many dialogues, of how many turns.
        sampling: the limits of an answer; answers are greedy.

    Returns:
        By name; `instructions.json` in the session's folder holds the same.

    Raises:
        DataError: there are no dialogues or no constraints.
    """
    measured = GattSettings(
        evaluation_dialogues=settings.dialogues,
        evaluation_turns=settings.turns,
        sampling=GattSamplingSettings(**sampling.model_dump()),
    )
    found = {}
    for name, checkpoint in checkpoints.items():
        policy = load_policy(checkpoint)
        resolve_compute(session.compute).place(policy.model)
        found[name] = consistency_by_turn(
            policy, dialogues, constraints, measured, session, name=f"instructions-{name}"
        )
    # a list: the order of the versions is told
    write_json(session.folder / FILE, [{"version": name, "kept": asdict(kept)} for name, kept in found.items()])
    return found
