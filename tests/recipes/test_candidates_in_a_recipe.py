"""What a recipe says of rejection sampling's candidates: refused with its key, foretold, and shown in the plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alignment.errors import RecipeError
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.stages.kind import PlannedStage

WATCH = "reward.watch={path: somewhere}"


def version(file: Path, *overrides: str) -> PlannedStage:
    return {stage.name: stage for stage in stages_of(load_recipe(file, overrides))}["rlhf-v1"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("rlhf.rejection.samples_per_prompt=0", "rlhf.rejection.samples_per_prompt"),
        ("rlhf.rejection.sweep_prompts=0", "rlhf.rejection.sweep_prompts"),
        ("rlhf.rejection.temperatures=[0.5, 0]", "rlhf.rejection.temperatures.1"),
        ("rlhf.rejection.temperatures=[0.5, 0.5]", "rlhf.rejection.temperatures"),
        ("rlhf.rejection.keep=top_n", "rlhf.rejection"),
        ("rlhf.rejection.samples_from={}", "rlhf.rejection.samples_from.path"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_key(recipe_file: Path, override: str, key: str) -> None:
    with pytest.raises(RecipeError, match=rf": {re.escape(key)}: "):
        load_recipe(recipe_file, [override])


def test_temperatures_without_a_watch_model_are_doubted_before_anything_runs(recipe_file: Path) -> None:
    asked = "rlhf.rejection.temperatures=[0.5, 1.0]"
    alone, watched = version(recipe_file, asked), version(recipe_file, asked, WATCH)
    (told,) = alone.kind.doubts(alone.inputs, {})
    assert "chosen by reward alone" in told
    assert watched.kind.doubts(watched.inputs, {}) == ()


def test_the_plan_says_how_many_answers_the_sweep_draws(recipe_file: Path) -> None:
    stage = version(recipe_file, "rlhf.rejection.temperatures=[0.5, 1.0]", "rlhf.rejection.sweep_prompts=40")
    assert stage.kind.size(stage.inputs).first == (
        "all prompts × 16 answers, 40 of them at each of 2 temperatures before"
    )


def test_a_larger_model_draws_and_each_version_still_starts_from_the_newest(recipe_file: Path) -> None:
    overrides = ("rlhf.rejection.samples_from={path: larger}", "gatt=null")
    stages = {stage.name: stage for stage in stages_of(load_recipe(recipe_file, overrides))}
    assert stages["rlhf-v2"].starts_from == "rlhf-v1"
    assert [stage.kind.size(stage.inputs).first for stage in stages.values() if stage.name == "rlhf-v2"] == [
        "all prompts × 16 answers"
    ]
