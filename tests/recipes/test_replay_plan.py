"""Replayed documents and controls in a recipe: where they come from, what they rest on, what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import RecipeError, SettingError
from alignment.train.session import Session
from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.running.fingerprint import plan_fingerprint, read_settings
from recipes.running.runner import run
from recipes.stages.context import StageContext
from tests.planned import plan, refused

SHARE = "{share: 0.5}"
OWN = "{share: 0.5, source: [{path: %s}]}"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Two documents."""
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "The mill stands by the river."}\n{"text": "The baker sells bread."}\n')
    return path


REPLAYS = {
    "sft": ("sft",),
    "rlhf.rejection": ("rlhf-v1", "rlhf-v2", "rlhf-v3-rejection"),
    "gatt": ("gatt",),
}


@pytest.mark.parametrize("section", REPLAYS)
def test_without_sources_of_its_own_a_stage_replays_what_pretraining_trains_on(recipe_file: Path, section: str) -> None:
    recipe = load_recipe(recipe_file, [f"{section}.replay={SHARE}"])
    for name, stage in plan(recipe).items():
        replays = any(data.key == "pretrain" for data in stage.inputs.data()) and name != "pretrain"
        assert replays == (name in REPLAYS[section] or name == "tokenizer")
        if name in REPLAYS[section]:
            assert read_settings(recipe, stage)["pretrain.data"] == recipe.pretrain.data
            assert stage.inputs.world is not None


def test_ppo_replays_documents_too(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["rlhf.ppo.replay={documents: 4}"])
    assert plan(recipe)["rlhf-v3"].inputs.data()[-1].key == "pretrain"
    assert (recipe.rlhf.ppo.replay.documents, recipe.rlhf.ppo.replay.coefficient) == (4, 0.5)


def test_a_recipe_without_replay_and_controls_rests_on_what_it_did_before(recipe: Recipe) -> None:
    for stage in plan(recipe).values():
        for section in read_settings(recipe, stage).values():
            if hasattr(section, "fingerprint_values"):
                assert not {"replay", "controls"} & section.fingerprint_values().keys()


def test_replaying_changes_the_stage_and_what_stands_on_it(recipe_file: Path, texts: Path) -> None:
    marks = {
        plan_fingerprint(load_recipe(recipe_file, overrides))
        for overrides in ([], [f"sft.replay={SHARE}"], [f"sft.replay={OWN % texts}"], ["sft.replay={share: 0.25}"])
    }
    assert len(marks) == 4


def test_documents_are_told_in_the_stages_data_report(recipe_file: Path, texts: Path, tmp_path: Path) -> None:
    stage = plan(load_recipe(recipe_file, [f"sft.replay={OWN % texts}"]))["sft"]
    session = Session(folder=tmp_path, seed=0, fingerprint="")
    context = StageContext(stage=stage, session=session, folders={}, write_page=lambda: "")
    context.load(stage.inputs.demonstrations())
    assert len(context.replayed(stage.inputs.replay)) == 2
    told = json.loads((tmp_path / "data.json").read_text())
    assert {part: report["kind"] for part, report in told.items()} == {"sft": "dialogues", "replay": "documents"}
    assert told["replay"]["train"] == 2


def test_no_documents_to_take_are_told_with_line_and_key(recipe_file: Path) -> None:
    text = recipe_file.read_text().replace("sft:\n", "sft:\n  replay: {share: 0.5}\n")
    pretrain = text[text.index("pretrain:") : text.index("sft:")]
    recipe_file.write_text(text.replace(pretrain, "").replace("size: tiny", "path: some/base"))
    line = recipe_file.read_text().splitlines().index("  replay: {share: 0.5}") + 1
    said = refused(recipe_file, "model={path: some/base}")
    assert f"small.yaml:{line}: sft.replay: asks for documents, and there is no section pretrain" in said
    assert "name them: sft.replay.source" in said


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("sft.replay={share: 0}", "sft.replay.share: is 0; it must be more than 0"),
        ("sft.replay={share: 1, source: []}", "sft.replay.source: names no source"),
        ("gatt.replay={source: [{world: documents}]}", "gatt.replay.share: is missing; documents per dialogue"),
        ("rlhf.ppo.replay={share: 1}", "rlhf.ppo.replay.share: unknown key"),
        ("rlhf.ppo.replay={documents: 0}", "rlhf.ppo.replay.documents: is 0; it must be at least 1"),
        ("rlhf.controls=[greedily]", "rlhf.controls.0: is 'greedily'; it must be 'steps'"),
        ("rlhf.controls=[steps, steps]", "rlhf.controls: names steps more than once"),
    ],
)
def test_what_cannot_be_replayed_or_controlled_is_refused_by_its_key(
    recipe_file: Path, override: str, why: str
) -> None:
    assert f"override '{override}': {why}" in refused(recipe_file, override)


def test_controls_need_demonstrations(recipe_file: Path) -> None:
    said = refused(recipe_file, "rlhf.controls=[steps]", "sft=null", "pretrain=null", "model.path=chat", "gatt=null")
    assert "rlhf.controls: train on SFT's demonstrations; add the section sft" in said


def test_an_error_of_a_setting_is_told_with_the_line_where_it_stands(
    recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    recipe_file.write_text(recipe_file.read_text().replace("sft:\n", "sft:\n  replay:\n    share: 0.01\n"))
    line = recipe_file.read_text().splitlines().index("    share: 0.01") + 1

    def fail(context: StageContext) -> None:
        raise SettingError("replay.share", "is 0.01, which of 2 records is no document")

    stages.before["sft"] = fail
    with pytest.raises(RecipeError) as caught:
        run(load_recipe(recipe_file), out=tmp_path / "run", stages=stages, until="sft")
    assert str(caught.value).endswith(
        f"small.yaml:{line}: sft.replay.share: is 0.01, which of 2 records is no document"
    )


def test_sources_without_documents_are_told_by_the_setting(recipe_file: Path, texts: Path, tmp_path: Path) -> None:
    texts.write_text("")
    stage = plan(load_recipe(recipe_file, [f"sft.replay={OWN % texts}"]))["sft"]
    session = Session(folder=tmp_path, seed=0, fingerprint="")
    context = StageContext(stage=stage, session=session, folders={}, write_page=lambda: "")
    with pytest.raises(SettingError, match=r"replay: its documents cannot be read: .*texts.jsonl is empty"):
        context.replayed(stage.inputs.replay)


def test_a_control_starts_from_sft_after_the_versions_and_is_none_of_them(recipe_file: Path) -> None:
    stages = plan(load_recipe(recipe_file, ["rlhf.controls=[steps]", "gatt.after=0"]))
    control = stages["control-steps"]
    assert (control.kind.name, control.starts_from) == ("control", "sft")
    assert {"rlhf-v1", "rlhf-v2", "rlhf-v3-rejection"} <= set(control.parents)
    evaluated = stages["evaluate"].inputs
    assert (evaluated.controls, "control-steps" in evaluated.versions) == (("control-steps",), False)
    assert evaluated.compared.after == "rlhf-v3"
    assert "control-steps" in stages["evaluate"].parents


def test_a_control_takes_what_the_versions_results_say(recipe_file: Path, tmp_path: Path) -> None:
    import rl.control

    stage = plan(load_recipe(recipe_file, ["rlhf.controls=[steps]", "gatt=null"]))["control-steps"]
    names = ("rlhf-v1", "rlhf-v2", "rlhf-v3-rejection")
    results = {n: {"version": i + 1, "steps": 7 + i, "dialogues": 20, "pool_size": 9} for i, n in enumerate(names)}
    context = StageContext(
        stage=stage,
        session=Session(folder=tmp_path, seed=0, fingerprint=""),
        folders=dict.fromkeys(stage.parents, tmp_path),
        write_page=lambda: "",
        results=results.__getitem__,
    )
    taken: list[Any] = []

    class Stopped(Exception):
        pass

    def watch(policy: object, dialogues: object, rounds: Any, *rest: object, **_: object) -> None:
        taken.extend(rounds)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl.control, "train_control", watch)
        patch.setattr(StageContext, "start", lambda self: None)
        with pytest.raises(Stopped):
            stage.kind.run(stage.inputs, context)
    assert [(each.version, each.steps, each.dialogues, each.documents) for each in taken] == [
        (1, 7, 20, 0),
        (2, 8, 20, 0),
        (3, 9, 20, 0),
    ]
