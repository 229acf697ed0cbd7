"""Who judged a run, told so exactly that two runs' scores can be compared where the judges are the same.  No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from alignment.errors import CheckpointError
from alignment.evaluate.judge_words import ENDPOINT, GOLD, OUTSIDE_WATCH, REWARD, WATCH
from alignment.store.manifest import read_manifest
from recipes.masking import mask, mask_values
from recipes.reading.schema import Recipe
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.kind import Makes, PlannedStage
from recipes.stages.reward import RewardInputs

_WEIGHTS = ".safetensors"


def judges_of(run: Path, recipe: Recipe, plan: Sequence[PlannedStage]) -> tuple[tuple[str, str], ...]:
    """(name, what it is) of every judge that a run has.

    The embedded world's judge is told by its town, the reward models by their weights and by how their scores become
    one, an outside judge by its model.
    """
    found = []
    if recipe.world is not None:
        town = f"{recipe.world.people:,} people, seed {recipe.world.seed}"
        found.append((GOLD, f"gold judge of the embedded world ({town})"))
    trained = [stage for stage in plan if stage.makes(Makes.REWARD_MODEL)]
    evaluations = [stage.inputs for stage in plan if isinstance(stage.inputs, EvaluateInputs)]
    if evaluations and evaluations[0].judges is not None:  # of several versions' it goes by the newest
        trained = [stage for stage in trained if stage.name in evaluations[0].judges.stages()]
    watching = [stage for stage in trained if isinstance(stage.inputs, RewardInputs) and stage.inputs.role == WATCH]
    models = [stage for stage in trained if stage not in watching]
    told = [f"{stage.name} {_weights(run / stage.folder / 'checkpoint')}" for stage in models]
    if recipe.reward is not None:
        told = told or [f"of the section {_digest(mask_values(recipe.reward.model_dump(mode='json')))}"]
        if recipe.rlhf is not None:
            told.append(f"combination {_digest(recipe.rlhf.combination.model_dump(mode='json'))}")
        found.append((REWARD, f"the run's own reward models ({', '.join(told)})"))
    for stage in watching:
        found.append((WATCH, f"the watch model ({_weights(run / stage.folder / 'checkpoint')})"))
    watch = recipe.reward.watch if recipe.reward is not None else None
    if watch is not None and watch.endpoint is not None:
        found.append((OUTSIDE_WATCH, f"outside model {mask(watch.endpoint.model)}, which watched"))
    if recipe.evaluate.endpoint is not None:
        found.append((ENDPOINT, f"outside judge {mask(recipe.evaluate.endpoint.model)}"))
    return tuple(found)


def _weights(checkpoint: Path) -> str:
    """The identity of a checkpoint's weights, whatever stands beside them."""
    try:
        files = read_manifest(checkpoint).files
    except CheckpointError:
        return "not there"
    return _digest(sorted((name, sha) for name, (_, sha) in files.items() if name.endswith(_WEIGHTS)))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
