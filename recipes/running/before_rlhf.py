"""The checks before RLHF, as `align check` tells them: of the prompts always, of what the run has finished so far.

No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignment.errors import AlignmentError, UsageError
from recipes.reading.schema import Recipe
from recipes.running.digests import Digests
from recipes.running.folder import check_run_folder
from recipes.running.record import StageRecord
from recipes.running.survey import survey
from recipes.stages.disjoint import Pool, failed_disjoint, shared_prompts
from recipes.stages.judge_checks import Failed, obey
from recipes.stages.kind import PlannedStage
from recipes.stages.rlhf_inputs import Judged, RewardModels

_THRESHOLD = ("rlhf", "combination", "safety_threshold")


def before_rlhf(recipe: Recipe, plan: Sequence[PlannedStage], pools: Sequence[Pool]) -> tuple[list[str], list[str]]:
    """What the checks say now.

    Args:
        pools: the prompts of the recipe's data sets.

    Returns:
        Sentences that are told, and those that would stop the run.
    """
    judges = _judges(plan)
    if judges is None or judges.checks is None:
        return [*shared_prompts(pools)], []
    told, stopping, failed = [], [], [*failed_disjoint(pools)]
    try:
        failed += _of_finished_stages(recipe, tuple(plan), judges)
    except AlignmentError as error:
        told.append(f"what the run has finished cannot be looked at: {error}")
    for check in failed:
        where = f"{recipe.origin.where(_THRESHOLD)}: " if check.name == "threshold" else ""
        try:
            told += [f"check before RLHF: {where}{sentence}" for sentence in obey([check], judges.checks)]
        except UsageError as error:
            stopping.append(f"{where}{error}")
    return told, stopping


def _judges(plan: Sequence[PlannedStage]) -> RewardModels | None:
    """What judges the first stage that scores answers."""
    scoring = [stage.inputs.judges for stage in plan if isinstance(stage.inputs, Judged)]
    return scoring[0] if scoring else None


def _of_finished_stages(recipe: Recipe, plan: tuple[PlannedStage, ...], judges: RewardModels) -> list[Failed]:
    """What the figures of the run's finished stages say, as far as they are what this recipe would make."""
    run = recipe.run_folder
    if not run.is_dir() or not check_run_folder(run):
        return []
    finished: Mapping[str, StageRecord] = survey(recipe, run, plan, (), Digests()).finished
    folders = {stage.name: run / stage.folder for stage in plan if stage.name in finished}
    found = judges.failed(folders.get)
    for stage in plan:
        if isinstance(stage.inputs, Judged) and stage.inputs.judges is not None and stage.name in finished:
            found += stage.inputs.judges.failed_kept(finished[stage.name].result)
    return found
