"""The section `collect` of a recipe: where its stage stands, and what is refused with key, file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.check import data_sets
from tests.planned import plan, refused

COLLECT = """
collect:
  prompts: {train: [{world: prompts/helpfulness}]}
  variants: [pretrain, sft]
  temperatures: [0.7, 1.0]
"""


@pytest.fixture
def collecting(recipe_file: Path) -> Path:
    """The small recipe with a section collect, whose pairs the helpfulness model reads."""
    text = recipe_file.read_text(encoding="utf-8") + COLLECT
    train = "{train: [{world: preferences/helpfulness}"
    recipe_file.write_text(text.replace(train, f"{train}, {{stage: collect}}"), encoding="utf-8")
    return recipe_file


def test_it_stands_between_sft_and_the_reward_models_which_have_it_as_a_parent(collecting: Path) -> None:
    stages = plan(collecting)
    names = list(stages)
    assert names[names.index("sft") + 1] == "collect"
    assert stages["collect"].parents == ("tokenizer", "pretrain", "sft")
    assert "collect" in stages["reward-helpfulness"].parents
    assert "collect" not in stages["reward-safety"].parents


def test_without_variants_the_chat_model_answers(collecting: Path) -> None:
    assert "sft" in plan(collecting, "collect.variants=[]")["collect"].parents
    own_chat = ("pretrain=null", "sft=null", "gatt=null", "rlhf=null", "model.path=some/chat")
    begun = plan(collecting, "collect.variants=[]", "tokenizer.vocab_size=400", *own_chat)
    assert begun["collect"].parents == ("tokenizer",)


def test_the_plan_says_how_much_is_drawn(collecting: Path) -> None:
    stage = plan(collecting)["collect"]
    assert str(stage.kind.size(stage.inputs)) == "300 prompts × 16 answers, 8 pairs each"


@pytest.mark.parametrize(
    ("override", "key", "why"),
    [
        ("collect.variants=[sft, chat]", "collect.variants.1", "is 'chat', which is no stage of this recipe"),
        ("collect.variants=[tokenizer]", "collect.variants.0", "makes no policy; right is pretrain or sft"),
        ("collect.variants=[sft, rlhf-v1]", "collect.variants.1", "comes after collect; right is pretrain or sft"),
        ("collect.variants=[sft, sft]", "collect.variants", "holds 'sft' twice, which changes nothing"),
        ("collect.temperatures=[0.7, 0.7]", "collect.temperatures", "holds 0.7 twice, which changes nothing"),
        ("collect.temperatures=[]", "collect.temperatures", "is empty; at least one temperature is needed"),
        ("collect.annotator=nobody", "collect.annotator", "is 'nobody'; it must be 'world'"),
        ("collect.annotator={url: 'ftp://x', model: m}", "collect.annotator.url", "is no address of an endpoint"),
        ("collect.annotator={url: 'http://x/v1'}", "collect.annotator.model", "is missing"),
        ("collect.prompts.train.0={path: my.jsonl}", "collect.prompts.train.0.path", "no part of the embedded world"),
        (
            "reward.helpfulness.data.train.1={stage: collect, campaign: safety}",
            "reward.helpfulness.data.train.1.campaign",
            "collect has no safety_prompts",
        ),
        (
            "reward.helpfulness.data.held_out=[{stage: collect}]",
            "reward.helpfulness.data.held_out.0.stage",
            "collect.num_held_out is 0",
        ),
        (
            "collect={prompts: {train: [{world: prompts/helpfulness}]}, num_prompts: 0, num_watch: 9}",
            "collect",
            "num_prompts is 0, which takes all training prompts, and num_watch asks for 9 further ones",
        ),
        (
            "reward.watch={data: {train: [{world: preferences/helpfulness}]}}",
            "reward.watch.data.train.0",
            "is read by reward.helpfulness.data too",
        ),
        (
            "reward.helpfulness.data.train=[{stage: collect, part: watch}]",
            "reward.helpfulness.data.train.0.part",
            "collect.num_watch is 0",
        ),
        (
            "reward.helpfulness.data.train=[{world: preferences/helpfulness, part: watch}]",
            "reward.helpfulness.data.train.0",
            "part picks records of a stage",
        ),
    ],
)
def test_a_fault_is_told_with_its_key_and_place(collecting: Path, override: str, key: str, why: str) -> None:
    said = refused(collecting, override)
    assert why in said
    assert f"override {override!r}: {key}: " in said


@pytest.mark.parametrize(
    ("variants", "temperatures", "why"),
    [
        ("[sft]", "[0.7]\n  answers: 1", "one variant at the one temperature 0.7 with one answer makes no pair"),
        ("[sft]", "[0.7, 1.0]\n  answers: 2", "2 variants with 2 answers each make at most 4 pairs of a prompt"),
    ],
)
def test_what_makes_no_pairs_is_refused_with_its_line(
    collecting: Path, variants: str, temperatures: str, why: str
) -> None:
    text = collecting.read_text(encoding="utf-8")
    text = text.replace("[pretrain, sft]", variants).replace("[0.7, 1.0]", temperatures)
    collecting.write_text(text, encoding="utf-8")
    said = refused(collecting)
    assert f"{collecting}:{text.splitlines().index('collect:') + 1}: collect: " in said
    assert why in said


def test_a_mixtures_sources_are_read_as_any_others(collecting: Path) -> None:
    mix = "reward.safety.data.mix={sources: [{stage: collect}], share: 0.1}"
    assert "collect" in plan(collecting, mix)["reward-safety"].parents
    assert "reward.safety.data.mix.sources.0.stage" in refused(collecting, mix.replace("collect", "nowhere"))


def test_own_prompts_are_compared_by_people(collecting: Path, data_file: Path) -> None:
    stages = plan(collecting, f"collect.prompts.train.0={{path: {data_file}}}", "collect.annotator=people")
    assert stages["collect"].inputs.world is None


def test_own_prompts_are_compared_by_an_endpoint(collecting: Path, data_file: Path) -> None:
    endpoint = "collect.annotator={url: 'http://localhost:9/v1', model: m}"
    stages = plan(collecting, f"collect.prompts.train.0={{path: {data_file}}}", endpoint)
    assert stages["collect"].inputs.world is None


def test_a_check_reads_what_is_here_before_the_pairs_are_collected(collecting: Path) -> None:
    stages = stages_of(load_recipe(collecting))
    read = {data.key: [source.label for source in data.settings.sources] for data, _ in data_sets(stages)}
    assert read["reward.helpfulness"] == ["world:preferences/helpfulness"]
    assert read["collect.prompts"] == ["world:prompts/helpfulness"]
    alone = stages_of(load_recipe(collecting, ["reward.helpfulness.data.train=[{stage: collect}]"]))
    assert "reward.helpfulness" not in {data.key for data, _ in data_sets(alone)}
