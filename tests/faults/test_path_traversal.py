"""S4: names that lead out of their root are refused before anything is opened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.errors import AlignmentError, CheckpointError
from alignment.store.manifest import verify, write_manifest
from recipes.cli import main
from tests.tiny_recipe import BRITTLE

OUTSIDE = ["../outside", "/etc/hostname", "a/../../outside", "..", "./../outside"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_manifest_that_names_a_file_outside_is_refused(tmp_path: Path, name: str) -> None:
    from alignment.store.manifest import _digest

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


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
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


def test_a_sources_split_cannot_lead_elsewhere() -> None:
    from alignment.data.world import World, WorldSettings

    with pytest.raises(AlignmentError):
        list(World(WorldSettings(size="seconds")).documents("../train"))
