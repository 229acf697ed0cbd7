"""DPO and GRPO in a recipe: what they are handed, what they rest on, and that they stand beside the versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import RecipeError
from recipes.load import load_recipe
from recipes.running.fingerprint import plan_fingerprint, read_settings
from recipes.running.runner import run
from recipes.stages.kind import Makes
from recipes.stages.table import STAGES
from tests.planned import plan
from tests.tiny_recipe import TINY

BOTH = "rlhf.baselines=[dpo, grpo]"
COLLECT = "collect={prompts: {train: [{world: prompts/helpfulness}], held_out: [{world: prompts/helpfulness}]}}"


def test_they_start_from_the_sft_model_and_no_stage_goes_on_from_them() -> None:
    planned = plan(load_recipe("quickstart", [BOTH]))
    for name in ("dpo", "grpo"):
        assert planned[name].starts_from == planned["rlhf-v1"].starts_from == "sft"
        assert planned[name].makes(Makes.CONTROL)
        assert name not in {stage.starts_from for stage in planned.values()}
    assert planned["evaluate"].inputs.controls == ("dpo", "grpo")
    assert {"dpo", "grpo"} <= set(planned["evaluate"].parents)


def test_dpo_learns_from_what_the_run_collects_of_both_campaigns(recipe_file: Path) -> None:
    (data,) = plan(load_recipe("quickstart", ["rlhf.baselines=[dpo]"]))["dpo"].inputs.data()
    collections = ("collect", "collect-v2", "collect-v3", "collect-v4", "collect-v5", "collect-v5-ppo")
    for sources in (data.settings.train, data.settings.held_out):
        assert [(s.stage, s.campaign, s.part) for s in sources] == [(name, None, None) for name in collections]
    none_kept = load_recipe(recipe_file, ["rlhf.baselines=[dpo]", COLLECT, "collect.num_held_out=0"])
    assert plan(none_kept)["dpo"].inputs.pairs.held_out == ()


def test_dpo_takes_pairs_of_its_own_where_they_are_named(recipe_file: Path) -> None:
    own = "rlhf.dpo={data: {train: [{world: preferences/helpfulness}]}}"
    dpo = plan(load_recipe(recipe_file, ["rlhf.baselines=[dpo]", own]))["dpo"]
    assert dpo.inputs.pairs.train[0].world == "preferences/helpfulness"
    assert dpo.inputs.world is not None
    assert "collect" not in dpo.parents


def test_grpo_has_the_versions_prompts_and_reward_and_draws_as_many_samples() -> None:
    recipe = load_recipe("quickstart", [BOTH, "rlhf.versions=2", "rlhf.ppo_from=2", "gatt=null"])
    planned = plan(recipe)
    inputs = planned["grpo"].inputs
    assert inputs.prompts == planned["rlhf-v1"].inputs.prompts
    assert inputs.judges == planned["rlhf-v1"].inputs.judges
    assert inputs.sampled_by == {"rlhf-v1": None, "rlhf-v2-rejection": None, "rlhf-v2": recipe.rlhf.ppo.batch_size}
    assert {"rlhf-v2", "reward-safety", "reward-helpfulness"} <= set(planned["grpo"].parents)


def test_with_samples_of_its_own_grpo_waits_for_no_version() -> None:
    grpo = plan(load_recipe("quickstart", [BOTH, "rlhf.grpo={samples: 2048}"]))["grpo"]
    assert not [name for name in grpo.parents if name.startswith("rlhf-v")]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rlhf.baselines=[dpo]"], "rlhf.baselines: names dpo, which learns from the pairs that collect collects; add"),
        (["rlhf.baselines=[ppo]"], "rlhf.baselines.0: is 'ppo'; it must be 'dpo' or 'grpo'"),
        (["rlhf.baselines=[grpo, grpo]"], "rlhf.baselines: names grpo more than once"),
        (
            ["rlhf.dpo={beta: 0.2}"],
            "dpo say how a baseline is trained that is not asked for; name it: baselines: [dpo]",
        ),
        (
            ["rlhf.baselines=[grpo]", "rlhf.grpo={batch_size: 10}"],
            "samples_per_prompt 64 does not divide batch_size 10",
        ),
        (
            ["rlhf.baselines=[dpo]", "rlhf.dpo={data: {train: [{stage: sft}]}}"],
            "rlhf.dpo.data.train.0.stage: is 'sft', a stage that makes no records",
        ),
        (["rlhf.baselines=[dpo]", "rlhf.dpo={beta: 0}"], "rlhf.dpo.beta: is 0; it must be more than 0"),
    ],
)
def test_what_cannot_be_is_told_with_its_key(recipe_file: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert said in str(caught.value)


def test_baselines_change_no_stage_that_was_there_but_the_evaluation() -> None:
    without, with_them = (load_recipe("quickstart", given) for given in ([], [BOTH]))
    assert plan_fingerprint(without) != plan_fingerprint(with_them)
    old, new = plan(without), plan(with_them)
    for name in set(old) - {"evaluate", "report"}:
        assert read_settings(without, old[name]) == read_settings(with_them, new[name])


@pytest.mark.parametrize(("name", "key"), [("dpo", "rlhf.dpo"), ("grpo", "rlhf.grpo")])
def test_a_stage_rests_on_its_whole_section(name: str, key: str) -> None:
    recipe = load_recipe("quickstart", [BOTH])
    assert key in read_settings(recipe, plan(recipe)[name])


def test_grpo_that_never_was_better_than_its_start_is_doubted() -> None:
    stage = plan(load_recipe("quickstart", [BOTH]))["grpo"]
    (said,) = stage.kind.doubts(stage.inputs, {"steps": 9, "best_step": 0})
    assert said.startswith("no step was better on held-out prompts than the start")
    assert stage.kind.doubts(stage.inputs, {"steps": 9, "best_step": 9}) == ()


def test_a_warm_up_that_is_longer_than_dpo_is_doubted() -> None:
    stage = plan(load_recipe("quickstart", [BOTH]))["dpo"]
    (said,) = stage.kind.doubts(stage.inputs, {"steps": 119})
    assert "the warm-up of 150 steps is no shorter than the training of 119" in said
    assert "rlhf.dpo.optimizer.warmup_steps" in said


def test_their_sizes_are_told_before_anything_runs() -> None:
    planned = plan(load_recipe("quickstart", [BOTH, "rlhf.versions=1", "rlhf.ppo_from=2"]))
    assert str(STAGES["dpo"].size(planned["dpo"].inputs)) == "64 pairs per step, 1 epochs"
    assert (
        str(STAGES["grpo"].size(planned["grpo"].inputs)) == "as many answers as rlhf-v1, 1,024 a step, 64 to a prompt"
    )


@pytest.mark.slow
def test_both_are_trained_and_judged_beside_the_versions(tmp_path: Path) -> None:
    settings = [
        "rlhf.dpo={batch_size: 16, microbatch_size: 16, optimizer: {warmup_steps: 0}}",
        "rlhf.grpo={batch_size: 6, samples_per_prompt: 3, microbatch_size: 6, sampling: {max_new_tokens: 8}}",
    ]
    recipe = load_recipe("quickstart", [*TINY, BOTH, *settings, "rlhf.versions=1", "rlhf.ppo_from=1", "gatt=null"])
    run(recipe, out=tmp_path / "run")
    folders = {path.name.partition("-")[2]: path for path in (tmp_path / "run").glob("[0-9][0-9]-*")}
    results: dict[str, dict[str, Any]] = {
        name: json.loads((folders[name] / "stage.json").read_text())["result"] for name in ("dpo", "grpo", "rlhf-v1")
    }
    drawn = json.loads((folders["rlhf-v1-rejection"] / "stage.json").read_text())["result"]["samples"]
    assert results["grpo"]["samples"] == drawn + results["rlhf-v1"]["iterations"] * recipe.rlhf.ppo.batch_size
    assert 0.0 <= results["dpo"]["accuracy"] <= 1.0
    versions = json.loads((folders["evaluate"] / "evaluation.json").read_text())["versions"]
    figures = {entry["version"]: entry["figures"] for entry in versions if not entry["task"]}
    assert {"sft", "rlhf-v1", "dpo", "grpo"} <= set(figures)
    assert "gold.helpfulness" in figures["dpo"]
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    titles = {section["id"]: section["title"] for section in report["sections"]}
    assert (titles["dpo"], titles["grpo"]) == ("Baseline: DPO by TRL", "Baseline: GRPO by TRL")
    for name in ("dpo", "grpo"):
        assert not [path for path in folders[name].rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
