"""What a stage's model came from, told whole in its record: every earlier model, sample, prompt and annotator."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.data.record_types import PROMPTS
from recipes.masking import mask
from recipes.planned import needed_for
from recipes.stages.kind import Makes, PlannedStage


def lineage_of(plan: Sequence[PlannedStage], stage: PlannedStage) -> dict[str, list[str]]:
    """What a stage that makes a model stands on, in the order of the plan; empty for one that makes none.

    Returns:
        "policies", "reward models" and "samples": names of stages; "prompts": what was asked, by source; "annotators":
        who compared answers.
    """
    if not any(stage.makes(what) for what in (Makes.POLICY, Makes.CONTROL, Makes.REWARD_MODEL)):
        return {}
    came_from = needed_for(tuple(plan), (stage.name,))
    earlier = [each for each in came_from if each.name != stage.name]
    found = {
        "policies": [each.name for each in earlier if each.makes(Makes.POLICY)],
        "reward models": [each.name for each in earlier if each.makes(Makes.REWARD_MODEL)],
        "samples": [each.name for each in earlier if each.makes(Makes.RECORDS)],
        "prompts": [
            mask(source.label)
            for each in came_from
            for data in each.inputs.data()
            if data.records is PROMPTS
            for source in data.settings.train
        ],
        "annotators": [mask(who) for each in came_from for who in each.inputs.annotators()],
    }
    return {what: list(dict.fromkeys(names)) for what, names in found.items() if names}
