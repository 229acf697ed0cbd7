"""S4: names that lead out of their root are refused before anything is opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from alignment.errors import AlignmentError, CheckpointError, UsageError
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.store.manifest import _digest, verify, write_manifest
from alignment.world import World, WorldSettings
from recipes.cli import main
from reward.model import RewardModel
from tests.faults.watched import Watched
from tests.tiny_recipe import BRITTLE

OUTSIDE = ["../outside", "/etc/hostname", "a/../../outside", "..", "./../outside"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_manifest_that_names_a_file_outside_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    write_manifest(folder, kind="k", meta={})
    raw = json.loads((folder / "manifest.json").read_text())
    raw["files"] = {name: [1, "0" * 64]}
    raw["digest"] = _digest("k", {name: (1, "0" * 64)}, {})
    (folder / "manifest.json").write_text(json.dumps(raw) + "\n")
    with pytest.raises(CheckpointError, match="outside"):
        verify(folder)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = UsageError.exit_code) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ".hidden", "x\0y", "x y/../z"])
def test_a_recipes_name_cannot_lead_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(["run", "quickstart", *BRITTLE, f"name={json.dumps(name)}"], capsys)
    assert "name" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../../../etc/hostname", "no-such-recipe", "recipes/../quickstart"])
def test_a_recipe_that_is_no_recipe_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "error" in refused(["run", name], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_is_a_link_out_of_the_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "stage.json").write_text("{}")
    run.mkdir()
    (run / "run.json").write_text('{"version": 1, "name": "x", "made": ""}\n')
    (run / "01-tokenizer").symlink_to(outside)
    assert "symbolic link" in refused(["run", "quickstart", *BRITTLE, "--out", str(run)], capsys)
    assert (outside / "stage.json").read_text() == "{}"


@pytest.fixture
def run(watched: Watched, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    shutil.copytree(watched.run, tmp_path / "run")
    return tmp_path / "run"


def test_a_checkpoint_that_is_a_link_out_of_the_run_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "03-sft" / "checkpoint").rename(tmp_path / "outside")
    (run / "03-sft" / "checkpoint").symlink_to(tmp_path / "outside")
    again = ["run", "quickstart", *BRITTLE, "description=run by ${PATH}", "--out", str(run), "--until", "rlhf-v1"]
    assert "symbolic link" in refused(again, capsys)
    assert "symbolic link" in refused(["chat", str(run)], capsys)


@pytest.mark.parametrize("name", ["../../outside", "/etc/hostname", "x/../../../outside"])
@pytest.mark.parametrize("verb", ["stages", "report", "chat"])
def test_a_record_that_names_an_output_outside_its_stage_is_refused(
    run: Path, name: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "03-sft" / "stage.json"
    record = json.loads(path.read_text())
    del record["sha256"]  # as release 0.1.0 wrote it; whoever forges it can compute the right one too
    path.write_text(json.dumps(record | {"outputs": record["outputs"] | {name: "0" * 64}}))
    assert "lies outside the stage's folder" in refused([verb, str(run)], capsys, code=CheckpointError.exit_code)


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_that_names_a_shard_outside_is_refused_before_it_is_opened(
    policy: Policy, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    save_policy(policy, folder)
    (folder / "manifest.json").unlink()
    (folder / "model.safetensors").rename(tmp_path / "outside")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    for load in (load_policy, RewardModel.load):
        with pytest.raises(CheckpointError, match="outside the checkpoint's folder"):
            load(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sft/../../outside", "03-sft"])
def test_a_stages_name_cannot_lead_elsewhere(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.parent.rglob("*"))
    for arguments in (
        ["chat", str(run), "--stage", name],
        ["run", "quickstart", *BRITTLE, "--out", str(run), "--until", name],
    ):
        assert "stage" in refused(arguments, capsys)
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.parametrize("part", ["../documents", "preferences/../../x", "/etc/hostname", "prompts/.."])
def test_a_part_of_the_world_cannot_lead_elsewhere(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "world" in refused(["plan", "quickstart", f"sft.data.train=[{{world: {part}}}]"], capsys)


def test_a_sources_split_cannot_lead_elsewhere() -> None:
    with pytest.raises(AlignmentError):
        list(World(WorldSettings(size="seconds")).documents("../train"))
