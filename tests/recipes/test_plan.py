"""A recipe's stages: their names, order, folders and what each starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.errors import RecipeError, UsageError
from alignment.strict_yaml import parse_yaml
from recipes.load import build_recipe
from recipes.plan import stages_of
from recipes.planned import descendants, find_stages, needed_for
from recipes.reading.schema import Recipe
from tests.planned import plan


def test_five_versions_with_ppo_from_the_fifth_are_the_papers_stages(recipe_file: Path) -> None:
    stages = plan(recipe_file, "rlhf.versions=5", "rlhf.ppo_from=5", "gatt.after=0")
    assert [stage.folder for stage in stages.values()] == [
        "01-tokenizer",
        "02-pretrain",
        "03-sft",
        "04-reward-helpfulness",
        "05-reward-safety",
        "06-rlhf-v1",
        "07-rlhf-v2",
        "08-rlhf-v3",
        "09-rlhf-v4",
        "10-rlhf-v5-rejection",
        "11-rlhf-v5",
        "12-gatt",
        "13-evaluate",
        "14-report",
    ]
    assert [stage.kind.name for stage in stages.values()][5:12] == ["rejection"] * 5 + ["ppo", "gatt"]


def test_each_stage_starts_from_the_newest_model(recipe_file: Path) -> None:
    stages = plan(recipe_file)  # 3 versions, PPO on the third, Ghost Attention after the second
    assert {name: stage.starts_from for name, stage in stages.items() if stage.starts_from} == {
        "sft": "pretrain",
        "reward-helpfulness": "sft",
        "reward-safety": "sft",
        "rlhf-v1": "sft",
        "rlhf-v2": "rlhf-v1",
        "gatt": "rlhf-v2",
        "rlhf-v3-rejection": "gatt",
        "rlhf-v3": "rlhf-v3-rejection",
    }


def test_training_each_version_from_sft_still_draws_from_the_newest_model(recipe_file: Path) -> None:
    stages = plan(recipe_file, "rlhf.rejection.start_from=sft", "gatt.after=0")
    assert stages["rlhf-v2"].starts_from == "sft"
    assert stages["rlhf-v2"].parents[-1] == "rlhf-v1"
    assert stages["rlhf-v3-rejection"].starts_from == "sft"
    assert stages["rlhf-v3-rejection"].parents[-1] == "rlhf-v2"


def test_a_pool_of_all_versions_reads_their_folders_and_a_pool_of_one_does_not(recipe_file: Path) -> None:
    pooled = plan(recipe_file)["rlhf-v3-rejection"].parents
    alone = plan(recipe_file, "rlhf.rejection.pool=previous")["rlhf-v3-rejection"].parents
    assert {"rlhf-v1", "rlhf-v2"} <= set(pooled)
    assert not {"rlhf-v1", "rlhf-v2"} & set(alone)


def test_a_stage_that_reads_anothers_records_has_it_as_a_parent(recipe_file: Path) -> None:
    stages = plan(recipe_file, "gatt.data.train.0={stage: rlhf-v1}", "gatt.data.held_out=[{world: dialogues}]")
    assert "rlhf-v1" in stages["gatt"].parents
    assert "rlhf-v1" not in plan(recipe_file)["gatt"].parents


@pytest.mark.parametrize(
    ("section", "name", "why"),
    [
        ("gatt", "rlhf-v9", "is no stage of this recipe; right is rlhf-v1 or rlhf-v2"),
        ("gatt", "reward-safety", "makes no records; right is rlhf-v1 or rlhf-v2"),
        ("gatt", "rlhf-v3-rejection", "comes after gatt, the stage that would read it"),
        ("sft", "rlhf-v1", "comes after tokenizer, the stage that would read it; no stage before it makes any"),
    ],
)
def test_a_source_that_names_no_earlier_stage_with_records_is_refused(
    recipe_file: Path, section: str, name: str, why: str
) -> None:
    with pytest.raises(RecipeError, match=why) as caught:
        plan(recipe_file, f"{section}.data.train.0={{stage: {name}}}", "gatt.data.held_out=[{world: dialogues}]")
    assert f"{section}.data.train.0.stage" in str(caught.value)


def test_absent_sections_drop_their_stages(recipe_file: Path) -> None:
    small = plan(recipe_file, "reward=null", "rlhf=null", "gatt=null")
    assert list(small) == ["tokenizer", "pretrain", "sft", "report"]
    loaded = plan(recipe_file, "pretrain=null", "sft=null", "model.path=some/chat", "tokenizer.data=null", "gatt=null")
    assert list(loaded)[:3] == ["tokenizer", "reward-helpfulness", "reward-safety"]
    assert loaded["rlhf-v1"].starts_from is None


def test_sft_alone_is_evaluated_where_it_holds_something_out(recipe_file: Path) -> None:
    alone = ("reward=null", "rlhf=null", "gatt=null")
    assert "evaluate" not in plan(recipe_file, *alone)  # nothing could be asked
    assert "evaluate" in plan(recipe_file, *alone, "sft.data.held_out_fraction=0.1")
    assert "evaluate" in plan(recipe_file, *alone, "sft.data.held_out=[{world: dialogues}]")


@given(
    versions=st.integers(1, 8),
    ppo_from=st.integers(1, 9),
    after=st.integers(0, 8),
    sections=st.sets(st.sampled_from(["rlhf", "gatt"])),
    start_from=st.sampled_from(["latest", "sft"]),
)
def test_parents_always_come_before_their_children(
    versions: int, ppo_from: int, after: int, sections: set[str], start_from: str
) -> None:
    text = Path(__file__).with_name("small.yaml").read_text(encoding="utf-8")
    recipe = build_recipe(
        parse_yaml(text, name="r"),
        name="r",
        overrides=[
            f"rlhf.versions={versions}",
            f"rlhf.ppo_from={min(ppo_from, versions + 1)}",
            f"rlhf.rejection.start_from={start_from}",
            f"gatt.after={0 if 'rlhf' in sections or start_from == 'sft' else min(after, versions)}",
            *(f"{section}=null" for section in sorted(sections)),
        ],
    )
    seen: set[str] = set()
    for number, stage in enumerate(stages_of(recipe), start=1):
        assert stage.number == number
        assert stage.name not in seen
        assert set(stage.parents) <= seen
        assert stage.starts_from is None or stage.starts_from in stage.parents
        seen.add(stage.name)


def test_only_what_a_stage_needs_is_needed(recipe: Recipe) -> None:
    stages = stages_of(recipe)
    assert [stage.name for stage in needed_for(stages, ("reward-helpfulness",))] == [
        "tokenizer",
        "pretrain",
        "sft",
        "reward-helpfulness",
    ]


def test_what_stands_on_a_stage_falls_with_it(recipe: Recipe) -> None:
    assert descendants(stages_of(recipe), {"rlhf-v2"}) == (
        "rlhf-v2",
        "gatt",
        "rlhf-v3-rejection",
        "rlhf-v3",
        "evaluate",
        "report",
    )


def test_a_stage_is_found_by_name_or_kind_and_the_nearest_is_named(recipe: Recipe) -> None:
    stages = stages_of(recipe)
    assert find_stages(stages, "reward") == ("reward-helpfulness", "reward-safety")
    assert find_stages(stages, "rlhf-v2") == ("rlhf-v2",)
    with pytest.raises(UsageError, match="did you mean 'rlhf-v2'"):
        find_stages(stages, "rlhfv2")
    with pytest.raises(UsageError, match="no stage of the kind 'ppo'; add its section"):
        find_stages(stages[:3], "ppo")


HELD_OUT = "sft.data.held_out_fraction=0.1"  # SFT that holds nothing out is not evaluated


@pytest.mark.parametrize(
    ("overrides", "compared"),
    [
        ((), ("sft", "rlhf-v3", "alignment")),  # Ghost Attention after the second version is on the way
        (("gatt.after=0",), ("sft", "rlhf-v3", "alignment")),  # and after the last one it is not what is asked
        (("rlhf.versions=1", "rlhf.ppo_from=1", "gatt.after=1"), ("sft", "rlhf-v1", "alignment")),
        (("rlhf=null", "gatt.after=0", HELD_OUT), ("sft", "gatt", "Ghost Attention")),
        (("rlhf=null", "gatt=null", HELD_OUT), ("pretrain", "sft", "fine-tuning")),
    ],
)
def test_the_page_compares_what_the_run_is_about(
    recipe_file: Path, overrides: tuple[str, ...], compared: tuple[str, str, str]
) -> None:
    found = plan(recipe_file, *overrides)["evaluate"].inputs.compared
    assert (found.before, found.after, found.work) == compared
