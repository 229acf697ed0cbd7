"""What a finished stage left is compared with its digests before it is used (reliability, every stored result)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import CheckpointError, RunChanged, RunLocked
from alignment.store.atomic import staged_folder
from alignment.store.journal import Journal
from alignment.store.manifest import write_manifest
from recipes.reading.schema import Recipe
from recipes.running import record as records
from recipes.running.record import StageRecord, altered_output, read_record
from recipes.running.runner import run
from recipes.running.telling import Quiet
from recipes.running.verify import altered_journals, altered_stages, require_unaltered


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


def test_an_edited_figure_in_a_stages_record_is_found_by_the_records_digest_of_itself(
    recipe: Recipe, stages: Any, finished: Path
) -> None:
    path = finished / "03-sft" / "stage.json"
    path.write_text(path.read_text().replace("1.25", "0.25"))
    with pytest.raises(CheckpointError, match=r"03-sft/stage.json is damaged \(it was edited"):
        run(recipe, out=finished, stages=stages)


def test_a_record_that_is_a_pipe_is_refused_at_once(finished: Path) -> None:
    path = finished / "03-sft" / "stage.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"stage.json is damaged \(it is a pipe"):
        read_record(path.parent)


def test_lost_or_cut_metrics_are_told_and_the_result_stands(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    def measure(context: Any) -> None:
        with Journal(context.session.folder / "metrics.jsonl") as journal:
            journal.append_all([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])

    stages.before["sft"] = measure
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    assert altered_journals(out) == {}
    rows = (out / "03-sft" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "03-sft" / "metrics.jsonl").write_text(rows[0])
    assert "metrics.jsonl was altered" in altered_journals(out)["03-sft"]
    (out / "03-sft" / "metrics.jsonl").unlink()
    assert "metrics.jsonl is missing" in altered_journals(out)["03-sft"]
    assert not run(recipe, out=out, stages=stages).worked


def test_a_run_whose_lock_is_taken_away_while_it_works_writes_nothing_more(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stages.before["sft"] = lambda _: (out / ".lock").unlink()
    with pytest.raises(RunLocked, match=r"\.lock was removed or replaced"):
        run(recipe, out=out, stages=stages)
    record = read_record(out / "03-sft")
    assert record is not None
    assert record.status == "running"
    assert not (out / "04-reward-helpfulness").exists()
