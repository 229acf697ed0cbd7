"""`evaluate.own_answers` in a recipe: whose answers, what it rests on, and what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.fingerprint import read_settings
from tests.planned import refused

ASKED = "evaluate.own_answers={}"


def answering(recipe_file: Path, *overrides: str) -> tuple[str, ...]:
    stages = {stage.name: stage for stage in stages_of(load_recipe(recipe_file, overrides))}
    return stages["evaluate"].inputs.answering


def test_unless_others_are_named_the_chat_model_that_the_reward_models_start_from_answers(recipe_file: Path) -> None:
    assert answering(recipe_file) == ()
    assert answering(recipe_file, ASKED) == ("sft",)
    assert answering(recipe_file, "evaluate.own_answers={models: [rlhf-v1, gatt]}") == ("rlhf-v1", "gatt")


def test_a_recipe_that_does_not_ask_for_it_rests_on_what_it_did_before(recipe_file: Path) -> None:
    for overrides, there in ([], False), ([ASKED], True):
        recipe = load_recipe(recipe_file, overrides)
        stage = next(stage for stage in stages_of(recipe) if stage.name == "evaluate")
        assert ("own_answers" in read_settings(recipe, stage)["evaluate"].fingerprint_values()) == there


def test_asked_for_without_reward_models_is_told_with_line_and_key(recipe_file: Path) -> None:
    text = recipe_file.read_text()
    alone = text[: text.index("reward:")] + "evaluate:\n  own_answers: {}\n"
    recipe_file.write_text(alone)
    line = alone.splitlines().index("  own_answers: {}") + 1
    said = refused(recipe_file)
    assert f"small.yaml:{line}: evaluate.own_answers: measures reward models, and there are none" in said


def test_asked_for_without_held_out_prompts_says_what_would_give_some(recipe_file: Path) -> None:
    text = recipe_file.read_text()
    alone = text[: text.index("rlhf:")] + "evaluate:\n  own_answers: {}\n"
    recipe_file.write_text(alone)
    assert "evaluate.own_answers: asks held-out prompts, and there are none; add the section rlhf" in refused(
        recipe_file
    )


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("{models: [sft, rlhf-v9]}", "evaluate.own_answers.models.1: is 'rlhf-v9', no model that the evaluation asks"),
        ("{models: [reward-safety]}", "right is pretrain or sft or rlhf-v1"),
        ("{models: [sft, sft]}", "evaluate.own_answers.models: names sft more than once"),
        ("{samples: 1}", "evaluate.own_answers.samples: is 1; it must be at least 2"),
        ("{sampling: {temperature: 0}}", "evaluate.own_answers.sampling.temperature: is 0; it must be more than 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_its_key(recipe_file: Path, setting: str, why: str) -> None:
    assert why in refused(recipe_file, f"evaluate.own_answers={setting}")
