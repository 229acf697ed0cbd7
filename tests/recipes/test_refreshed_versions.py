"""`rlhf.refresh`: every version from the second on collects comparisons of its own and has reward models of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.data.settings import SourceSettings
from recipes.accumulated import accumulated
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.planned import find_stages
from recipes.stages.collect import CollectInputs
from recipes.stages.evaluate_inputs import EvaluateInputs
from recipes.stages.ppo import PpoInputs
from recipes.stages.rejection import RejectionInputs
from recipes.stages.reward import RewardInputs
from tests.planned import plan, refused

COLLECT = """
collect:
  prompts: {train: [{world: prompts/helpfulness}]}
  num_held_out: 3
"""
FRESH = ("rlhf.refresh=fresh", "rlhf.collect={num_prompts: 5, older_share: 0.5}")


@pytest.fixture
def collecting(recipe_file: Path) -> Path:
    """The small recipe, whose helpfulness model reads what is collected beside the town's own comparisons."""
    text = recipe_file.read_text(encoding="utf-8") + COLLECT
    own = "{train: [{world: preferences/helpfulness}]}"
    both = "{train: [{world: preferences/helpfulness}, {stage: collect}], held_out: [{stage: collect}]}"
    recipe_file.write_text(text.replace(own, both), encoding="utf-8")
    return recipe_file


def test_a_version_is_collect_then_its_reward_models_then_its_fine_tuning(collecting: Path) -> None:
    names = list(plan(collecting, *FRESH, "gatt=null"))
    assert names[names.index("rlhf-v1") :] == [
        *("rlhf-v1", "collect-v2", "reward-helpfulness-v2", "rlhf-v2"),
        *("collect-v3", "reward-helpfulness-v3", "rlhf-v3-rejection"),
        *("collect-v3-ppo", "reward-helpfulness-v3-ppo", "rlhf-v3", "evaluate", "report"),
    ]


def test_without_refresh_the_first_versions_models_judge_all(collecting: Path) -> None:
    stages = plan(collecting)
    assert not any(name.startswith(("collect-", "reward-helpfulness-")) for name in stages)
    for name in ("rlhf-v1", "rlhf-v2", "rlhf-v3"):
        assert "reward-helpfulness" in stages[name].parents


def test_a_version_is_judged_by_its_own_models_alone(collecting: Path) -> None:
    stages = plan(collecting, *FRESH)
    for name, own in {"rlhf-v1": "", "rlhf-v2": "-v2", "rlhf-v3-rejection": "-v3", "rlhf-v3": "-v3-ppo"}.items():
        judging = {parent for parent in stages[name].parents if parent.startswith("reward-helpfulness")}
        assert judging == {f"reward-helpfulness{own}"}, name
        assert "reward-safety" in stages[name].parents  # it reads nothing that a version collects


def test_the_newest_model_answers_and_fresh_models_start_from_its_body(collecting: Path) -> None:
    stages = plan(collecting, *FRESH, "gatt=null")
    inputs = stages["collect-v3"].inputs
    assert isinstance(inputs, CollectInputs)
    assert (inputs.variants, inputs.earlier, inputs.later) == (("rlhf-v2",), ("collect", "collect-v2"), "v3")
    assert inputs.settings.num_prompts == 5
    assert inputs.settings.num_held_out == 3  # as the section collect says
    assert stages["reward-helpfulness-v3"].starts_from == "rlhf-v2"


def test_continued_models_go_on_from_the_previous_versions(collecting: Path) -> None:
    stages = plan(collecting, "rlhf.refresh=continue", FRESH[1], "gatt=null")
    inputs = stages["reward-helpfulness-v3"].inputs
    assert isinstance(inputs, RewardInputs)
    assert inputs.continues == "reward-helpfulness-v2"
    assert "reward-helpfulness-v2" in stages["reward-helpfulness-v3"].parents


def test_comparisons_accumulate_and_the_newest_are_held_out(collecting: Path) -> None:
    inputs = plan(collecting, *FRESH)["reward-helpfulness-v3"].inputs
    assert isinstance(inputs, RewardInputs)
    read = [(source.world or source.stage, source.share) for source in inputs.comparisons.train]
    assert read == [
        ("preferences/helpfulness", 0.5),
        ("collect-v3", 1.0),
        ("collect", 0.5),
        ("collect-v2", 0.5),
    ]
    assert [source.stage for source in inputs.comparisons.held_out] == ["collect-v3"]


def test_with_no_older_share_only_the_newest_are_read(collecting: Path) -> None:
    inputs = plan(collecting, "rlhf.refresh=fresh", "rlhf.collect.older_share=0")["reward-helpfulness-v2"].inputs
    assert isinstance(inputs, RewardInputs)
    assert [source.stage for source in inputs.comparisons.train] == ["collect-v2"]


def test_a_share_of_a_source_is_shared_again(collecting: Path) -> None:
    recipe = load_recipe(collecting)
    assert recipe.reward is not None
    data = recipe.reward.helpfulness.data
    assert data is not None
    half = data.model_copy(update={"train": (SourceSettings(world="preferences/helpfulness", share=0.5),)})
    assert accumulated(half, ("collect", "collect-v2"), 0.5).train[0].share == 0.25


def test_before_ppo_answers_are_drawn_at_its_temperature(collecting: Path) -> None:
    stages = plan(collecting, *FRESH, "rlhf.ppo.sampling.temperature=0.9", "gatt=null")
    inputs = stages["collect-v3-ppo"].inputs
    assert isinstance(inputs, CollectInputs)
    assert (inputs.variants, inputs.settings.temperatures) == (("rlhf-v3-rejection",), (0.9,))
    assert inputs.settings.answers == 8  # as many as at both temperatures of the section collect
    assert "collect-v3-ppo" not in plan(collecting, *FRESH, "rlhf.ppo.refresh=false")


def test_ppo_goes_on_from_its_versions_rejection_sampling(collecting: Path) -> None:
    assert plan(collecting, *FRESH, "gatt=null")["rlhf-v3"].starts_from == "rlhf-v3-rejection"


def test_ppo_on_the_previous_version_takes_the_place_of_rejection_sampling(collecting: Path) -> None:
    stages = plan(collecting, *FRESH, "rlhf.ppo.on=previous", "gatt=null")
    assert "rlhf-v3-rejection" not in stages
    assert "collect-v3" not in stages
    assert stages["rlhf-v3"].starts_from == "rlhf-v2"
    assert stages["reward-helpfulness-v3-ppo"].starts_from == "rlhf-v2"


def test_models_that_have_judged_for_no_version_before_are_checked(collecting: Path) -> None:
    stages = plan(collecting, *FRESH)
    told = [stages[name].inputs for name in ("rlhf-v1", "rlhf-v2", "rlhf-v3-rejection")]
    assert [isinstance(inputs, RejectionInputs) and inputs.new_judges for inputs in told] == [True, True, True]
    plain = plan(collecting)["rlhf-v2"].inputs
    assert isinstance(plain, RejectionInputs)
    assert not plain.new_judges


def test_models_that_are_trained_before_ppo_are_checked_before_it(collecting: Path) -> None:
    checked = []
    for overrides in (FRESH, (*FRESH, "rlhf.ppo.refresh=false"), ()):
        inputs = plan(collecting, *overrides)["rlhf-v3"].inputs
        assert isinstance(inputs, PpoInputs)
        checked.append(inputs.new_judges)
    assert checked == [True, False, False]


def test_the_evaluation_is_judged_by_the_newest_models(collecting: Path) -> None:
    stages = plan(collecting, *FRESH)
    ppo, evaluate = stages["rlhf-v3"].inputs, stages["evaluate"].inputs
    assert isinstance(ppo, PpoInputs)
    assert isinstance(evaluate, EvaluateInputs)
    assert evaluate.judges == ppo.judges


def test_refresh_false_is_refresh_null(collecting: Path) -> None:
    said = [load_recipe(collecting, [f"rlhf.refresh={no}"]).rlhf for no in ("false", "null")]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("overrides", "key", "why"),
    [
        (("rlhf.refresh=fresh",), "rlhf.refresh", "is fresh, and nothing new is collected to learn from"),
        (("rlhf.collect={}",), "rlhf.collect", "and rlhf.refresh is null: no reward model would read them"),
        (
            (*FRESH, "collect=null", "reward.helpfulness.data.train=[{world: preferences/helpfulness}]"),
            "rlhf.collect",
            "there is no section collect; add one",
        ),
        (
            (*FRESH, "reward.helpfulness.data.train=[{world: preferences/helpfulness}]"),
            "rlhf.refresh",
            "none of them reads it; name {stage: collect}",
        ),
        (
            ("rlhf.refresh=fresh", "rlhf.collect={answers: 1, pairs_per_prompt: 9}"),
            "rlhf.collect",
            "with what collect says besides: Value error, pairs_per_prompt is 9",
        ),
    ],
)
def test_what_cannot_be_refreshed_is_refused_with_its_key(
    collecting: Path, overrides: tuple[str, ...], key: str, why: str
) -> None:
    said = refused(collecting, *overrides)
    assert why in said
    assert f"{key}: " in said


def test_a_recipe_without_refresh_rests_on_what_it_did_before(collecting: Path) -> None:
    rlhf = load_recipe(collecting).rlhf
    assert rlhf is not None
    assert not {"collect", "refresh"} & rlhf.fingerprint_values().keys()
    assert not {"on", "refresh"} & rlhf.ppo.fingerprint_values().keys()


def test_the_greedy_control_has_the_versions_prompts_and_no_reward_model(collecting: Path) -> None:
    control = plan(collecting, "rlhf.controls=[greedy]", "gatt=null")["control-greedy"]
    assert (control.kind.name, control.starts_from) == ("control", "sft")
    assert [data.key for data in control.inputs.data()] == ["rlhf.prompts"]
    assert {"rlhf-v1", "rlhf-v2", "rlhf-v3-rejection"} <= set(control.parents)
    assert not any(parent.startswith("reward") for parent in control.parents)


def test_a_models_own_answers_are_scored_by_the_models_that_learnt_from_them(collecting: Path) -> None:
    stages = plan(collecting, *FRESH, "gatt=null")
    evaluate = stages["evaluate"].inputs
    assert isinstance(evaluate, EvaluateInputs)
    learnt = {name: judges.helpfulness.stage for name, judges in evaluate.learnt_from.items()}
    assert learnt == {
        "sft": "reward-helpfulness",
        "rlhf-v1": "reward-helpfulness-v2",
        "rlhf-v2": "reward-helpfulness-v3",
        "rlhf-v3-rejection": "reward-helpfulness-v3-ppo",
    }


def test_a_kind_means_the_first_versions_stages_and_the_others_go_by_name(collecting: Path) -> None:
    stages = stages_of(load_recipe(collecting, FRESH))
    assert find_stages(stages, "reward") == ("reward-helpfulness", "reward-safety")
    assert find_stages(stages, "collect") == ("collect",)
    assert find_stages(stages, "reward-helpfulness-v3") == ("reward-helpfulness-v3",)
