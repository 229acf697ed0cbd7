"""`align check` tells the checks before RLHF of what the recipe's run has finished already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.before_rlhf import before_rlhf
from recipes.running.runner import run
from recipes.stages.context import StageContext
from tests.recipes.conftest import FakeStages

COIN = {"accuracy": {"all": {"value": 0.51, "low": 0.45, "high": 0.57}}}
DOUBTED = "RLHF does not begin as its checks ask: that what is kept beats the greedy answers cannot be expected"


def told(recipe: Recipe) -> tuple[list[str], list[str]]:
    return before_rlhf(recipe, stages_of(recipe), [])


@pytest.fixture
def unsure(recipe_file: Path, stages: FakeStages, tmp_path: Path) -> tuple[Path, str]:
    """A run whose helpfulness model is done and no better than a coin."""

    def measured(context: StageContext) -> None:
        (context.session.folder / "evaluation.json").write_text(json.dumps(COIN))

    stages.before["reward-helpfulness"] = measured
    out = f"out={tmp_path}/run"
    run(load_recipe(recipe_file, [out]), stages=stages, until="reward-helpfulness")
    return recipe_file, out


def test_a_finished_reward_model_is_told_with_the_key_that_passes_over_it(unsure: tuple[Path, str]) -> None:
    file, out = unsure
    ((sentence,), stopping) = told(load_recipe(file, [out]))
    assert sentence.startswith("check before RLHF: that what is kept beats the greedy answers cannot be expected")
    assert "0.51 [0.45, 0.57]" in sentence
    assert stopping == []
    (nothing, (stops,)) = told(load_recipe(file, [out, "rlhf.checks.kept=stop"]))
    assert nothing == []
    assert stops.startswith(DOUBTED)
    assert stops.endswith("rlhf.checks.kept=tell goes on all the same")
    assert told(load_recipe(file, [out, "rlhf.checks.kept=skip"])) == ([], [])


def test_a_threshold_that_no_score_reaches_is_told_with_file_and_line(
    recipe_file: Path, stages: FakeStages, tmp_path: Path
) -> None:
    def measured(context: StageContext) -> None:
        figures = {"score_range": {"min": 0.4, "max": 0.6}}
        (context.session.folder / "evaluation.json").write_text(json.dumps(figures))

    text = recipe_file.read_text().replace("  ppo_from: 3\n", "  ppo_from: 3\n  combination: {safety_threshold: 0.2}\n")
    recipe_file.write_text(text)
    stages.before["reward-safety"] = measured
    recipe = load_recipe(recipe_file, [f"out={tmp_path}/run"])
    run(recipe, stages=stages, until="reward-safety")
    line = 1 + ["safety_threshold" in row for row in text.splitlines()].index(True)
    ((sentence,), _) = told(recipe)
    assert sentence.startswith(
        f"check before RLHF: {recipe_file}:{line}: rlhf.combination.safety_threshold, 0.2, is below"
    )


def test_a_model_that_the_recipe_would_not_make_any_more_is_not_told_of(unsure: tuple[Path, str]) -> None:
    file, out = unsure
    assert told(load_recipe(file, [out, "reward.helpfulness.margin=none"])) == ([], [])


def test_without_a_run_nothing_is_known_of_the_models(recipe_file: Path, tmp_path: Path) -> None:
    assert told(load_recipe(recipe_file, [f"out={tmp_path}/none"])) == ([], [])


def test_a_run_that_cannot_be_read_is_told_and_stops_nothing(unsure: tuple[Path, str]) -> None:
    file, out = unsure
    records = Path(out.removeprefix("out=")).glob("*/stage.json")
    damaged: dict[str, Any] = {}
    next(records).write_text(json.dumps(damaged))
    ((sentence,), stopping) = told(load_recipe(file, [out]))
    assert sentence.startswith("what the run has finished cannot be looked at: ")
    assert stopping == []
