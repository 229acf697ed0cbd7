"""What one stage of a run holds out no stage trains on, whichever files the sections name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignment.data.corpus import Loaded
from alignment.data.identity import asked_keys, normalised
from alignment.errors import DataError, RecipeError
from alignment.records import Dialogue, Document
from alignment.train.session import Session
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.fingerprint import read_settings
from recipes.stages.context import StageContext
from recipes.stages.kind import PlannedStage
from recipes.stages.rlhf_inputs import CampaignPrompts
from tests.real_data import REAL_DATA

REPOSITORY = Path(__file__).parents[2]
REAL = REAL_DATA

SHARED = """\
model: {size: tiny, context_length: 128}
tokenizer: {vocab_size: 420}
pretrain: {data: {train: [{path: texts.jsonl}, {path: chats.jsonl}]}}
sft: {data: {train: [{path: chats.jsonl}]}}
reward:
  helpfulness: {data: {train: [{path: pairs.jsonl}]}}
  safety: {data: {train: [{path: pairs.jsonl}], held_out: [{path: named.jsonl}]}}
rlhf:
  versions: 1
  ppo_from: 1
  prompts: {train: [{path: chats.jsonl}]}
  safety_prompts: {train: [{path: chats.jsonl}]}
gatt: {after: 1, data: {train: [{path: chats.jsonl}]}}
"""


def question(n: int) -> str:
    """One of the questions that every file asks."""
    return f"What did the miller of Brindle say about horse number {n}?"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """Loads a recipe whose sections all ask the same 200 questions."""
    files: dict[str, list[dict[str, Any]]] = {
        "chats": [{"question": question(n), "answer": f"It is good for {n} days."} for n in range(200)],
        "pairs": [{"prompt": question(n).upper(), "chosen": "Much.", "rejected": "Nothing."} for n in range(200)],
        "named": [{"prompt": question(n), "chosen": "Yes.", "rejected": "No."} for n in range(300, 310)],
        "texts": [{"text": f"A tale of the mill. {question(n)} He said nothing."} for n in range(320)],
    }
    for name, values in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    (tmp_path / "shared.yaml").write_text(SHARED)
    monkeypatch.chdir(tmp_path)
    return lambda *overrides: load_recipe("shared.yaml", ["split={test: 0.1, validation: 0.1}", *overrides])


def context(stage: PlannedStage, folder: Path) -> StageContext:
    """A stage that only reads."""
    session = Session(folder=folder, seed=0, fingerprint="")
    return StageContext(stage=stage, session=session, folders={}, write_page=lambda: "")


def read(recipe: Recipe, folder: Path) -> dict[str, list[Loaded[Any]]]:
    """Every data set of every stage, as the stage reads it."""
    found: dict[str, list[Loaded[Any]]] = {}
    for stage in stages_of(recipe):
        opened = context(stage, folder)
        for data in stage.inputs.data():
            found.setdefault(data.key, []).append(opened.read(data, with_test=True))
    return found


def asked(records: Sequence[Any]) -> set[str]:
    """The first messages of dialogues and comparisons."""
    prompts = [record if isinstance(record, Dialogue) else record.prompt for record in records]
    return {normalised(prompt.turns[0].content) for prompt in prompts}


def leaks(found: dict[str, list[Loaded[Any]]]) -> list[tuple[str, str, int]]:
    """(what trains, what holds out, how many of its held-out prompts are trained on, at whichever turn)."""
    chat = {key: sets for key, sets in found.items() if not isinstance(sets[0].train[0], Document)}
    held = {
        key: {asked_keys(record)[-1] for record in (*sets[0].held_out, *sets[0].test)} for key, sets in chat.items()
    }
    trained = {
        key: {asks for data in sets for record in data.train for asks in asked_keys(record)}
        for key, sets in chat.items()
    }
    return [(t, h, n) for t, some in trained.items() for h, kept in held.items() if (n := len(some & kept))]


def test_no_stage_trains_on_what_another_holds_out(shared: Callable[..., Recipe], tmp_path: Path) -> None:
    found = read(shared(), tmp_path)
    assert leaks(found) == []
    assert all(len(data.train) > 100 and data.test for sets in found.values() for data in sets)


def test_no_text_to_pretrain_on_holds_a_held_out_question(shared: Callable[..., Recipe], tmp_path: Path) -> None:
    found = read(shared(), tmp_path)
    texts = [normalised(document.text) for data in found["pretrain"] for document in data.train]
    held = asked([*found["sft"][0].held_out, *found["sft"][0].test, *found["reward.safety"][0].held_out])
    assert len(held) > 30
    assert [ask for ask in held if any(ask in text for text in texts)] == []
    assert found["pretrain"][0].report.repeated > 30


def test_ppo_chooses_by_prompts_that_the_evaluation_does_not_ask(shared: Callable[..., Recipe], tmp_path: Path) -> None:
    stages = [
        stage for stage in stages_of(shared()) if isinstance(getattr(stage.inputs, "prompts", None), CampaignPrompts)
    ]
    chosen_by: set[str] = set()
    for stage in stages:
        prompts = context(stage, tmp_path).load_campaigns(stage.inputs.prompts.data(), with_test=True)  # type: ignore[attr-defined]
        assert prompts.validation
        assert not asked(prompts.test) & asked([*prompts.validation, *prompts.train])
        chosen_by |= asked(prompts.validation)
    assert len(stages) == 3
    assert not chosen_by & asked(prompts.test)


def test_the_towns_evaluation_asks_what_ppo_did_not_choose_by(tmp_path: Path) -> None:
    recipe = load_recipe("quickstart", ["world.num_people=12"])
    stage = next(s for s in stages_of(recipe) if isinstance(getattr(s.inputs, "prompts", None), CampaignPrompts))
    for data in stage.inputs.data()[:2]:
        found = context(stage, tmp_path).read(data, with_test=True)
        train, validation, test = (
            {asked_keys(record)[-1] for record in part} for part in (found.train, found.validation, found.test)
        )
        assert min(map(len, (train, validation, test))) > 10
        assert not train & validation | train & test | validation & test


def test_one_file_in_both_campaigns_gives_no_id_twice(shared: Callable[..., Recipe], tmp_path: Path) -> None:
    stage = next(s for s in stages_of(shared()) if isinstance(getattr(s.inputs, "prompts", None), CampaignPrompts))
    prompts = context(stage, tmp_path).load_campaigns(stage.inputs.prompts.data())  # type: ignore[attr-defined]
    for part in (prompts.train, prompts.validation, prompts.test):
        ids = [prompt.id for prompt in part]
        assert len(set(ids)) == len(ids) > 10
        campaigns = [prompt.meta["campaign"] for prompt in part]
        assert campaigns.count("helpfulness") == campaigns.count("safety") == len(part) // 2


def test_a_stage_rests_on_the_split_and_on_what_others_hold_out_by_name(shared: Callable[..., Recipe]) -> None:
    stages = {stage.name: stage for stage in stages_of(shared())}
    basis = read_settings(shared(), stages["sft"])
    assert (basis["split.test"], basis["split.validation"]) == (0.1, 0.1)
    assert basis["reward.safety.data.held_out"][0].path == "named.jsonl"
    assert "reward.safety.data" not in basis


def test_a_reward_model_of_files_of_an_earlier_reading_is_trained_anew_and_a_towns_stands(
    shared: Callable[..., Recipe],
) -> None:
    def revisions(recipe: Recipe) -> set[int]:
        return {stage.revision - stage.kind.revision for stage in stages_of(recipe) if stage.kind.name == "reward"}

    assert revisions(shared()) == {1}
    assert revisions(load_recipe("quickstart")) == {0}


def test_a_town_rests_on_no_split() -> None:
    recipe = load_recipe("quickstart", ["split={test: 0.1, validation: 0.1}"])
    assert all("split.test" not in read_settings(recipe, stage) for stage in stages_of(recipe))


def test_pretraining_rests_on_later_data_only_while_it_is_looked_for_in_the_texts(
    shared: Callable[..., Recipe],
) -> None:
    def rests_on(*overrides: str) -> set[str]:
        recipe = shared(*overrides)
        stage = next(stage for stage in stages_of(recipe) if stage.name == "pretrain")
        return set(read_settings(recipe, stage))

    assert {"sft.data", "reward.helpfulness.data", "gatt.data"} <= rests_on()
    kept = rests_on("split.search_texts=false")
    assert "sft.data" not in kept
    assert "reward.safety.data.held_out" in kept


def test_the_split_is_as_large_as_the_largest_fraction_and_absent_where_nothing_is_held_out(
    shared: Callable[..., Recipe],
) -> None:
    named = "gatt.data.held_out=[{path: named.jsonl}]"
    assert shared("split={}", named).shares == (0.0, 0.0)
    fractions = ("sft.data.held_out_fraction=0.02", "rlhf.prompts.held_out_fraction=0.1")
    assert shared("split={}", *fractions).shares == (0.1, 0.1)
    assert shared("sft.data.held_out_fraction=0.3").shares == (0.1, 0.3)
    # a fraction of plain texts is no other stage's matter
    assert shared("split={}", named, "pretrain.data.held_out_fraction=0.2").shares == (0.0, 0.0)


def test_ghost_attention_without_anything_held_out_is_refused_before_the_run(shared: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match=r"gatt\.data: holds nothing out to measure with; add held_out sources"):
        shared("split={}")
    assert shared("split={}", "gatt.data.held_out=[{path: chats.jsonl}]").gatt is not None


def test_ghost_attention_never_measures_with_what_it_trains_on(
    shared: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr("gatt.train.train_gatt", lambda policy, train, test, *rest, **more: given.extend([train, test]))
    monkeypatch.setattr(StageContext, "start", lambda self: None)
    stage = next(stage for stage in stages_of(shared()) if stage.name == "gatt")
    with pytest.raises(AttributeError):  # nothing was trained, so there is no result
        stage.kind.run(stage.inputs, context(stage, tmp_path))
    train, test = given
    assert test
    assert not asked(train) & asked(test)


def test_ghost_attention_with_an_empty_test_part_says_so_before_it_loads_a_model(
    shared: Callable[..., Recipe], tmp_path: Path
) -> None:
    (tmp_path / "lonely.jsonl").write_text('{"question": "Why?", "answer": "Because."}\n')
    recipe = shared("gatt.data.train=[{path: lonely.jsonl}]")
    stage = next(stage for stage in stages_of(recipe) if stage.name == "gatt")
    with pytest.raises(DataError, match=r"gatt\.data: nothing is held out to measure with"):
        stage.kind.run(stage.inputs, context(stage, tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}; docs/data.md says how to gather it")
def test_real_small_holds_its_held_out_rows_out_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNMENT_DATA", str(REAL))
    recipe = load_recipe("real-small")
    found: dict[str, list[Loaded[Any]]] = {}
    for stage in stages_of(recipe):
        for data in stage.inputs.data():
            if data.key not in found:
                found[data.key] = [context(stage, tmp_path).read(data, with_test=True)]
    assert leaks(found) == []
    sft, documents = found["sft"][0], found["pretrain"][0].train
    held = [*sft.held_out, *sft.test]
    assert len(held) > 1_000
    whole = {normalised(document.text) for document in documents}
    assert [d for d in held if normalised(" ".join(turn.content for turn in d.turns)) in whole] == []
    assert len(found["reward.helpfulness"][0].test) > 100
    assert len(found["rlhf.prompts"][0].test) >= recipe.evaluate.num_prompts
    assert len(found["rlhf.safety_prompts"][0].test) >= recipe.evaluate.num_safety_prompts
