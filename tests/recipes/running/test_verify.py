"""What a finished stage left is compared with its digests before it is used (reliability, every stored result)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import CheckpointError, RunChanged
from alignment.store.atomic import staged_folder
from alignment.store.manifest import write_manifest
from recipes.reading.schema import Recipe
from recipes.running import record as records
from recipes.running.record import StageRecord, altered_output
from recipes.running.runner import run
from recipes.running.telling import Quiet
from recipes.running.verify import altered_stages, require_unaltered


@pytest.fixture
def finished(recipe: Recipe, stages: Any, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    return out


class Told(Quiet):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def edit(path: Path) -> None:
    """Change one byte; the size stays."""
    data = bytearray(path.read_bytes())
    data[1] ^= 1
    path.write_bytes(bytes(data))


def test_an_edited_output_stops_the_run_and_names_the_file(recipe: Recipe, stages: Any, finished: Path) -> None:
    edit(finished / "06-rlhf-v1" / "made.json")
    with pytest.raises(RunChanged, match=r"output of 06-rlhf-v1.*made.json was altered"):
        run(recipe, out=finished, stages=stages)


def test_an_edited_output_stops_the_report_and_names_the_command(finished: Path) -> None:
    edit(finished / "03-sft" / "made.json")
    with pytest.raises(CheckpointError, match=r"03-sft: made.json was altered.*align run .*--redo"):
        require_unaltered(finished)


@pytest.mark.parametrize("account", ["data.json", "quarantine.jsonl"])
def test_a_lost_account_of_the_data_is_told_and_fells_nothing(
    account: str, recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    out, told = tmp_path / "run", Told()
    stages.before["sft"] = lambda context: (context.session.folder / account).write_text("{}")
    run(recipe, out=out, stages=stages)
    (out / "03-sft" / account).unlink()
    require_unaltered(out)  # for the page
    assert not run(recipe, out=out, stages=stages, display=told).worked
    assert told.lines == [f"03-sft/{account} is gone; no result rests on it, the page does without"]
    assert ("03-sft", f"{account} is missing") in list(altered_stages(out, every=True))  # `align verify`


def test_an_edited_account_of_the_data_still_stops_the_report(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    stages.before["sft"] = lambda context: (context.session.folder / "data.json").write_text("{}")
    run(recipe, out=tmp_path / "run", stages=stages)
    (tmp_path / "run" / "03-sft" / "data.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"03-sft: data\.json was altered"):
        require_unaltered(tmp_path / "run")


def test_a_cut_output_is_told(finished: Path) -> None:
    (finished / "03-sft" / "made.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"03-sft: made\.json was altered"):
        require_unaltered(finished)


def test_a_cut_file_of_a_checkpoint_is_told_by_its_size(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "checkpoint") as aside:
        (aside / "weights").write_text("12345")
        manifest = write_manifest(aside, kind="policy", meta={})
    done = StageRecord(
        name="sft",
        kind="sft",
        status="finished",
        fingerprint="f",
        basis={},
        started="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:00:00Z",
        outputs={"checkpoint": manifest.digest},
    )
    assert altered_output(tmp_path, done) is None
    (tmp_path / "checkpoint" / "weights").write_text("123")
    assert altered_output(tmp_path, done) == "checkpoint/weights has 3 bytes, the stage left 5"


def test_a_large_file_is_hashed_where_its_time_says_that_it_was_written_later(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_SMALL", 1)
    made = finished / "03-sft" / "made.json"
    edit(made)
    os.utime(made, (4e9, 4e9))
    with pytest.raises(CheckpointError, match="was altered"):
        require_unaltered(finished)


def test_a_large_file_with_an_old_time_is_found_by_verify(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_SMALL", 1)
    made = finished / "03-sft" / "made.json"
    edit(made)
    os.utime(made, (1, 1))
    require_unaltered(finished)
    assert dict(altered_stages(finished, every=True))["03-sft"] is not None


def test_a_run_that_was_copied_stands(recipe: Recipe, stages: Any, finished: Path) -> None:
    for path in finished.rglob("*"):
        os.utime(path, (4e9, 4e9))
    require_unaltered(finished)
    assert not run(recipe, out=finished, stages=stages).worked
