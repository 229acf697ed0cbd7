"""Instructions kept by every version, as a part of the evaluation.

No torch, no pydantic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from alignment.errors import DataError
from recipes.stages.constrained import constraints_of
from recipes.stages.kind import DataSet

if TYPE_CHECKING:
    from alignment.evaluate.settings import InstructionsSettings
    from alignment.evaluate.versions import Version
    from recipes.stages.context import StageContext
    from recipes.stages.evaluate_inputs import EvaluateInputs


def instructed_data(settings: InstructionsSettings) -> DataSet[Any]:
    """The dialogues whose user turns are asked."""
    return DataSet(key="evaluate.instructions", settings=settings.data, records=DIALOGUES)


def measure_instructions(inputs: EvaluateInputs, stage: StageContext, versions: Sequence[Version]) -> dict[str, str]:
    """Hold the dialogues with every version, where the recipe asks for it; saves `instructions.json`.

    Returns:
        `unlearnt`: the sentence that says what was, between the two models of the page's first sentence; empty where
        nothing was.

    Raises:
        DataError: no dialogue is held out.
    """
    settings = inputs.settings.instructions
    if settings is None:
        return {}
    from gatt.by_version import instructions_by_version
    from gatt.kept import lost_instructions

    held_out = stage.read(instructed_data(settings), with_test=True).test
    if not held_out:
        raise DataError(
            "evaluate.instructions.data: nothing is held out, and dialogues that were trained on cannot tell; name "
            "held_out sources, or keep a share of the prompts for it (split.test)"
        )
    found = instructions_by_version(
        {version.name: version.checkpoint for version in versions},
        held_out,
        constraints_of(settings.constraints, stage)[0],
        settings,
        inputs.settings.sampling,
        stage.session,
    )
    unlearnt = lost_instructions(found, inputs.compared.before, inputs.compared.after) if inputs.compared else ""
    return {"unlearnt": unlearnt} if unlearnt else {}
