"""`reward.watch: {endpoint: …}` in a recipe: no stage trains it, every stage that decides by it is handed it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from alignment.train.session import Session
from recipes.load import load_recipe
from recipes.running.fingerprint import plan_fingerprint
from recipes.stages.context import StageContext
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.rlhf_inputs import Judged
from rl.outside_watch import EndpointWatch
from tests.planned import plan, refused

WATCH = "reward.watch={endpoint: {url: 'http://localhost:1/v1', model: m}}"


def test_no_stage_trains_it_and_those_that_judge_are_told_of_it(recipe_file: Path) -> None:
    stages = plan(recipe_file, WATCH)
    assert list(stages) == list(plan(recipe_file))
    judging = [stage for stage in stages.values() if isinstance(stage.inputs, Judged)]
    assert len(judging) > 3
    for stage in judging:
        inputs = cast(Judged, stage.inputs)
        assert inputs.judges is not None
        assert inputs.judges.outside_watch is not None
        assert inputs.facts()["watch score"] == "brought: the outside model m"


def test_where_models_are_compared_by_their_scores_it_is_left_out(recipe_file: Path) -> None:
    inputs = cast(Judged, plan(recipe_file, WATCH)["evaluate"].inputs)
    assert inputs.judges is not None
    assert list(inputs.judges.scoring()) == ["helpfulness", "safety"]


def test_the_evaluation_holds_the_others_against_the_model_before_rlhf(recipe_file: Path) -> None:
    inputs = plan(recipe_file, WATCH)["evaluate"].inputs
    assert isinstance(inputs, EvaluateInputs)
    assert inputs.versions[0] == "pretrain"
    assert inputs.held_against == "sft"
    without = plan(recipe_file)["evaluate"].inputs
    assert isinstance(without, EvaluateInputs)
    assert without.held_against is None


def test_another_outside_model_is_another_result(recipe_file: Path) -> None:
    prints = {
        plan_fingerprint(load_recipe(recipe_file, overrides))
        for overrides in ((), (WATCH,), (WATCH.replace("m}", "n}"),))
    }
    assert len(prints) == 3


def test_a_stage_opens_it_with_a_journal_in_its_own_folder(recipe_file: Path, session: Session) -> None:
    inputs = cast(Judged, plan(recipe_file, WATCH)["rlhf-v1"].inputs)
    assert inputs.judges is not None
    assert inputs.judges.watch is not None
    context = cast(StageContext, SimpleNamespace(session=session))
    watch = StageContext.watch(context, inputs.judges.watch)
    assert isinstance(watch, EndpointWatch)
    assert watch.path.is_relative_to(session.folder)


@pytest.mark.parametrize(
    ("override", "key", "why"),
    [
        ("reward.helpfulness={endpoint: {model: m}}", "reward.helpfulness.endpoint", "unknown"),
        (
            "reward.watch={endpoint: {url: 'ftp://x', model: m}}",
            "reward.watch.endpoint.url",
            "is no address of an endpoint",
        ),
        ("reward.watch={endpoint: {}}", "reward.watch.endpoint.model", "is missing"),
        (
            "reward.watch={endpoint: {model: m}, path: some/model}",
            "reward.watch",
            "exactly one of data, path, function and endpoint says where the scores come from",
        ),
        (
            "reward.watch={endpoint: {model: m}, epochs: 2}",
            "reward.watch",
            "epochs say how a model is trained; with endpoint",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_key(override: str, key: str, why: str, recipe_file: Path) -> None:
    message = refused(recipe_file, override)
    assert key in message
    assert why in message
