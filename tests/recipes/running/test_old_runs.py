"""A run that release 0.1.0 began is read and goes on: its own version is no part of what a result rests on any more."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import recipes.plan
import recipes.running.fingerprint as fingerprints
import recipes.versions
from alignment.errors import RunChanged
from alignment.world.settings import WorldSettings
from recipes.load import load_recipe
from recipes.running.record import read_record
from recipes.running.runner import run

# made by release 0.1.0: five stages finished, rlhf-v1 interrupted with `half.txt` in its folder
OLD = Path(__file__).with_name("run-0.1.0.tar.gz")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The old run, in a folder with its recipe and its data, and the versions that it was made with."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    versions = json.loads((tmp_path / "run" / "03-sft" / "stage.json").read_text())["basis"]["versions"]
    assert versions.pop("llama2-alignment-suite") == "0.1.0"
    monkeypatch.setattr(fingerprints, "versions_that_matter", lambda: versions)
    # as if the embedded world were the one that it was then
    then = json.loads((tmp_path / "run" / "03-sft" / "stage.json").read_text())["basis"]["settings"]
    world = {key.removeprefix("world."): value for key, value in then.items() if key.startswith("world.")}
    monkeypatch.setattr(WorldSettings, "fingerprint_values", lambda _: world)
    monkeypatch.setattr(fingerprints, "PART_VERSIONS", {})
    # the stage that was interrupted: as if its kind still did what it did then
    monkeypatch.setattr(recipes.versions, "REJECTION", dataclasses.replace(recipes.versions.REJECTION, revision=1))
    return tmp_path / "run"


def test_what_it_finished_is_not_run_again(old: Path, stages: Any) -> None:
    summary = run(load_recipe("small.yaml"), out=old, stages=stages)
    finished = ["tokenizer", "pretrain", "sft", "reward-helpfulness", "reward-safety"]
    assert [stage.name for stage in summary.stages if not stage.worked] == finished
    assert stages.calls[0] == "rlhf-v1"


def test_its_world_is_another_one_now_and_every_stage_of_it_falls(
    old: Path, stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(old.parent)
    with pytest.raises(RunChanged) as caught:
        run(load_recipe("small.yaml"), out=old, stages=stages)
    told = str(caught.value)
    assert "world.good_share: 0.72 -> (absent)   (tokenizer, pretrain, sft, " in told
    assert "world.dialogues_per_person: (absent) -> 160   (tokenizer, pretrain, sft, " in told
    assert "--redo" in told


def test_its_written_recipe_is_still_read(old: Path) -> None:
    assert load_recipe(old / "recipe.yaml").world is not None


def test_what_it_began_goes_on_with_the_fingerprint_of_its_checkpoints(old: Path, stages: Any) -> None:
    began = (old / "06-rlhf-v1" / "half.txt").read_text()
    seen = []
    stages.before["rlhf-v1"] = lambda context: seen.append(
        (context.session.fingerprint, (context.session.folder / "half.txt").read_text())
    )
    run(load_recipe("small.yaml"), out=old, stages=stages, until="rlhf-v1")
    assert seen == [(began, began)]
    record = read_record(old / "06-rlhf-v1")
    assert record is not None
    assert record.attempts == 2


def test_a_change_of_it_is_told_as_ever(old: Path, stages: Any) -> None:
    with pytest.raises(RunChanged, match=r"sft.epochs: 2.0 -> 3.0   \(sft\)"):
        run(load_recipe("small.yaml", ["sft.epochs=3"]), out=old, stages=stages)


def test_a_raised_revision_fells_it_and_says_so(old: Path, stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.plan, "SFT", dataclasses.replace(recipes.plan.SFT, revision=2))
    with pytest.raises(RunChanged, match=r"revision of the stage sft: 1 -> 2   \(sft\)") as caught:
        run(load_recipe("small.yaml"), out=old, stages=stages)
    assert "--redo" in str(caught.value)


def test_an_edited_basis_is_not_taken_for_one_of_the_old_release(old: Path, stages: Any) -> None:
    path = old / "03-sft" / "stage.json"
    record = json.loads(path.read_text())
    record["basis"]["settings"]["sft.epochs"] = 9.0
    path.write_text(json.dumps(record))
    with pytest.raises(RunChanged):
        run(load_recipe("small.yaml"), out=old, stages=stages)
