"""The runner skips what is finished, resumes what was interrupted, refuses what changed, loses nothing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import (
    AlignmentError,
    CheckpointError,
    DataError,
    DiskFull,
    Interrupted,
    MissingExtra,
    RecipeError,
    RunChanged,
    RunLocked,
)
from alignment.store.lock import RunLock
from alignment.train.session import StopFlag
from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.running.folder import stage_folders
from recipes.running.record import read_record
from recipes.running.runner import run

ALL = [
    "tokenizer",
    "pretrain",
    "sft",
    "reward-helpfulness",
    "reward-safety",
    "rlhf-v1",
    "rlhf-v2",
    "gatt",
    "rlhf-v3-rejection",
    "rlhf-v3",
    "evaluate",
    "report",
]


def tree_hash(folder: Path) -> str:
    """Digest of every name and byte below a folder (the lock's holder aside)."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name != ".lock":
            digest.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b"/"))
    return digest.hexdigest()


def test_a_run_does_every_stage_once_in_order_and_then_nothing(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = run(recipe, out=out, stages=stages)
    assert stages.calls == ALL
    assert summary.worked
    before = tree_hash(out)
    again = run(recipe, out=out, stages=stages)
    assert stages.calls == ALL
    assert not again.worked
    assert [stage.result for stage in again.stages] == [stage.result for stage in summary.stages]
    assert tree_hash(out) == before


def test_until_runs_only_what_the_stage_needs(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "run", stages=stages, until="reward-safety")
    assert stages.calls == ["tokenizer", "pretrain", "sft", "reward-safety"]
    run(recipe, out=tmp_path / "run", stages=stages, until="reward")
    assert stages.calls[4:] == ["reward-helpfulness"]


def test_a_failed_stage_is_recorded_and_the_next_start_goes_on_from_it(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"

    def fail(context: Any) -> None:
        raise DataError("rows.jsonl:7 is bad")

    stages.before["rlhf-v2"] = fail
    with pytest.raises(DataError, match=r"rows\.jsonl:7"):
        run(recipe, out=out, stages=stages)
    record = read_record(out / "07-rlhf-v2")
    assert record is not None
    assert (record.status, record.error) == ("failed", "rows.jsonl:7 is bad")
    assert "stage rlhf-v2: DataError: rows.jsonl:7 is bad" in (out / "log.txt").read_text()
    del stages.before["rlhf-v2"]
    stages.calls.clear()
    run(recipe, out=out, stages=stages)
    assert stages.calls == ALL[6:]
    record = read_record(out / "07-rlhf-v2")
    assert record is not None
    assert (record.status, record.attempts, record.error) == ("finished", 2, None)


def test_an_unexpected_error_leaves_its_traceback_in_the_log_and_one_sentence(
    recipe: Recipe, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "canary-4711")

    def fail(context: Any) -> None:
        raise KeyError("canary-4711")

    stages.before["sft"] = fail
    with pytest.raises(
        AlignmentError, match=r"stage sft stopped by KeyError.*the traceback is in .*log\.txt"
    ) as caught:
        run(recipe, out=tmp_path / "run", stages=stages)
    assert caught.value.exit_code == 1
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Traceback" in log
    assert "canary-4711" not in log + str(caught.value) + (tmp_path / "run" / "03-sft" / "stage.json").read_text()


def test_a_full_disk_inside_a_stage_is_told_as_such(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    def fail(context: Any) -> None:
        raise OSError(28, "No space left on device")

    stages.before["sft"] = fail
    with pytest.raises(DiskFull):
        run(recipe, out=tmp_path / "run", stages=stages)


def test_a_folder_that_vanishes_is_told_in_a_sentence(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stages.before["sft"] = lambda context: shutil.rmtree(out)
    with pytest.raises(AlignmentError, match=r"stage sft stopped by FileNotFoundError"):
        run(recipe, out=out, stages=stages)
    assert not out.exists()


def test_a_stop_between_stages_leaves_a_run_that_goes_on(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    stop = StopFlag()
    stages.before["sft"] = lambda context: stop.request(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        run(recipe, out=tmp_path / "run", stages=stages, stop=stop)
    assert caught.value.exit_code == 143
    stages.before.clear()
    run(recipe, out=tmp_path / "run", stages=stages)
    assert stages.calls == ALL


def test_a_stop_inside_a_stage_is_recorded_as_interrupted_and_resumed(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    stop = StopFlag()

    def interrupted(context: Any) -> None:
        (context.session.folder / "half.txt").write_text("work")
        stop.request(signal.SIGINT)
        context.session.stop.check(step=3)

    stages.before["sft"] = interrupted
    with pytest.raises(Interrupted, match="after step 3"):
        run(recipe, out=tmp_path / "run", stages=stages, stop=stop)
    record = read_record(tmp_path / "run" / "03-sft")
    assert record is not None
    assert record.status == "interrupted"
    fingerprints = []
    stages.before["sft"] = lambda context: fingerprints.append(
        (context.session.fingerprint, (context.session.folder / "half.txt").read_text())
    )
    run(recipe, out=tmp_path / "run", stages=stages)
    assert fingerprints == [(record.fingerprint, "work")]  # the same fingerprint, so that its checkpoints are taken


def test_a_change_is_refused_with_key_old_and_new_and_the_stages_that_fall(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    before = tree_hash(out)
    changed = load_recipe(recipe_file, ["rlhf.rejection.samples_per_prompt=3", "sft.log_every=9"])
    with pytest.raises(RunChanged) as caught:
        run(changed, out=out, stages=stages)
    text = str(caught.value)
    assert "rlhf.rejection.samples_per_prompt: 16 -> 3   (rlhf-v1, rlhf-v2, rlhf-v3-rejection)" in text
    assert "These stages fall: rlhf-v1, rlhf-v2, gatt, rlhf-v3-rejection, rlhf-v3, evaluate, report." in text
    assert "result of" not in text  # what follows from the change is not listed as a change
    assert tree_hash(out) == before
    assert stages.calls == ALL


def test_redo_puts_what_falls_aside_and_keeps_the_rest(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    kept = {path.name: tree_hash(path) for path in stage_folders(out)}
    summary = run(load_recipe(recipe_file, ["rlhf.ppo.clip=0.3"]), out=out, stages=stages, redo=True)
    assert stages.calls[len(ALL) :] == ["rlhf-v3", "evaluate", "report"]
    assert summary.replaced is not None
    assert summary.replaced.parent == out / ".replaced"
    aside = {path.name: tree_hash(path) for path in stage_folders(summary.replaced)}
    assert aside == {name: kept[name] for name in ("10-rlhf-v3", "11-evaluate", "12-report")}
    assert "clip: 0.3" in (out / "recipe.yaml").read_text()


def test_redo_without_a_change_does_nothing(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "run", stages=stages)
    before = tree_hash(tmp_path / "run")
    summary = run(recipe, out=tmp_path / "run", stages=stages, redo=True)
    assert summary.replaced is None
    assert tree_hash(tmp_path / "run") == before


def test_a_changed_data_file_is_refused_by_name(recipe: Recipe, data_file: Path, stages: Any, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "run", stages=stages)
    data_file.write_text(data_file.read_text().replace("Hello.", "Hallo."))
    with pytest.raises(RunChanged, match=r"file sft\.data\.train\.0\.path: "):
        run(recipe, out=tmp_path / "run", stages=stages)


def test_a_stage_that_the_recipe_no_longer_has_falls(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    fewer = load_recipe(recipe_file, ["rlhf.versions=2", "rlhf.ppo_from=3"])
    with pytest.raises(RunChanged, match=r"09-rlhf-v3-rejection"):
        run(fewer, out=out, stages=stages)
    run(fewer, out=out, stages=stages, redo=True)
    assert [path.name for path in stage_folders(out)][-3:] == ["08-gatt", "09-evaluate", "10-report"]


def test_a_result_that_was_removed_or_exchanged_is_noticed(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    (out / "03-sft" / "made.json").unlink()
    with pytest.raises(RunChanged, match=r'output of 03-sft: "complete" -> "made\.json is missing"'):
        run(recipe, out=out, stages=stages)


def test_an_unfinished_stage_without_work_takes_a_changed_recipe_without_redo(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    def fail(context: Any) -> None:
        (context.session.folder / "metrics.jsonl").write_text("{}\n")
        raise DataError("too many bad rows")

    stages.before["sft"] = fail
    with pytest.raises(DataError):
        run(recipe, out=tmp_path / "run", stages=stages)
    stages.before.clear()
    run(load_recipe(recipe_file, ["sft.epochs=3"]), out=tmp_path / "run", stages=stages)
    assert not (tmp_path / "run" / "03-sft" / "metrics.jsonl").exists()  # nothing of the first attempt is mixed in


def test_an_unfinished_stage_with_work_refuses_a_changed_recipe(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    def fail(context: Any) -> None:
        (context.session.folder / "checkpoints").mkdir()
        (context.session.folder / "checkpoints" / "weights").write_text("hours")
        raise DataError("stopped")

    stages.before["sft"] = fail
    with pytest.raises(DataError):
        run(recipe, out=tmp_path / "run", stages=stages)
    with pytest.raises(RunChanged, match=r"sft\.epochs: 2\.0 -> 3\.0"):
        run(load_recipe(recipe_file, ["sft.epochs=3"]), out=tmp_path / "run", stages=stages)


def test_nothing_is_made_when_an_input_is_missing(recipe: Recipe, data_file: Path, stages: Any, tmp_path: Path) -> None:
    data_file.unlink()
    with pytest.raises(RecipeError, match=r"rows\.jsonl"):
        run(recipe, out=tmp_path / "run", stages=stages)
    assert not (tmp_path / "run").exists()


def test_a_stage_cannot_read_a_folder_that_the_plan_does_not_know_of(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    stages.before["sft"] = lambda context: context.folder_of("reward-safety")
    with pytest.raises(AlignmentError, match="none of its parents"):
        run(recipe, out=tmp_path / "run", stages=stages)


def test_a_result_that_is_no_json_is_an_error_of_the_stage(recipe: Recipe, tmp_path: Path) -> None:
    class Odd(dict[str, Any]):
        def __missing__(self, kind: str) -> Any:
            return lambda inputs, context: {"loss": float("nan")}

    with pytest.raises(AlignmentError, match="stage tokenizer stopped by ValueError"):
        run(recipe, out=tmp_path / "run", stages=Odd())


def test_a_finished_run_stays_finished_whatever_variables_are_set(
    recipe: Recipe, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    monkeypatch.setenv("SORT_KEY", "context_length")
    monkeypatch.setenv("ORDER_KEY", "cosine")
    assert not run(recipe, out=out, stages=stages).worked


def test_a_damaged_record_is_named(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    (out / "03-sft" / "stage.json").write_text('{"version": 1')
    with pytest.raises(CheckpointError, match=r"03-sft/stage\.json is damaged"):
        run(recipe, out=out, stages=stages)


def test_a_second_run_on_the_folder_is_refused_at_once(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages, until="tokenizer")
    with RunLock(out):
        began = time.monotonic()
        with pytest.raises(RunLocked, match=f"process {os.getpid()} on "):
            run(recipe, out=out, stages=stages)
        assert time.monotonic() - began < 2
    run(recipe, out=out, stages=stages)


def _start(recipe: Recipe, out: Path, started: Any, hold: Any, results: Any) -> None:
    def work(inputs: Any, context: Any) -> dict[str, Any]:
        started.set()
        hold.wait(20)
        (context.session.folder / "made.json").write_text(json.dumps(os.getpid()))
        return {}

    table = dict.fromkeys(
        ["tokenizer", "pretrain", "sft", "reward", "rejection", "ppo", "gatt", "evaluate", "report"], work
    )
    try:
        run(recipe, out=out, stages=table)
        results.put("done")
    except RunLocked:
        results.put("locked")


def test_of_eight_starts_one_works_and_after_its_death_the_next_start_succeeds(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    started, hold, results = fork.Event(), fork.Event(), fork.Queue()
    processes = [fork.Process(target=_start, args=(recipe, tmp_path / "run", started, hold, results)) for _ in range(8)]
    for process in processes:
        process.start()
    try:
        assert started.wait(20)
        assert [results.get(timeout=20) for _ in range(7)] == ["locked"] * 7
    finally:
        for process in processes:  # the one that holds the lock dies as by kill -9
            process.kill()
            process.join()
    record = read_record(tmp_path / "run" / "01-tokenizer")
    assert record is not None
    assert record.status == "running"
    run(recipe, out=tmp_path / "run", stages=stages)
    assert stages.calls == ALL
    record = read_record(tmp_path / "run" / "01-tokenizer")
    assert record is not None
    assert (record.status, record.attempts) == ("finished", 2)


def test_leftovers_of_a_crash_are_cleared_and_said(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    from recipes.running.telling import Quiet

    class Told(Quiet):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def line(self, text: str) -> None:
            self.lines.append(text)

    out = tmp_path / "run"
    run(recipe, out=out, stages=stages, until="sft")
    (out / "03-sft" / ".aside-checkpoint-0123456789ab").mkdir()
    told = Told()
    run(recipe, out=out, stages=stages, display=told)
    assert not (out / "03-sft" / ".aside-checkpoint-0123456789ab").exists()
    assert "removed 03-sft/.aside-checkpoint-0123456789ab, left unfinished by an earlier stop" in told.lines


def test_a_report_that_was_removed_is_written_again(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"

    class WithPage(dict[str, Any]):
        def __missing__(self, kind: str) -> Any:
            def work(inputs: Any, context: Any) -> dict[str, Any]:
                stages[kind](inputs, context)
                if kind == "report":
                    (out / "page.html").write_text("page")
                    return {"page": "page.html"}
                return {}

            return work

    run(recipe, out=out, stages=WithPage())
    (out / "page.html").unlink()
    run(recipe, out=out, stages=WithPage())
    assert stages.calls == [*ALL, "report"]
    assert (out / "page.html").exists()


def test_a_logger_is_asked_for_by_the_recipe_and_no_part_of_any_fingerprint(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, given = tmp_path / "run", []
    run(recipe, out=out, stages=stages, until="pretrain")
    tracked = load_recipe(recipe_file, ["track=[tensorboard]"])
    monkeypatch.setattr("recipes.running.runner.require_loggers", lambda names: None)
    monkeypatch.setattr(
        "alignment.train.tracking.Tracked._log", lambda self, step, figures: given.append((self._name, step, figures))
    )
    stages.before["sft"] = lambda context: context.session.progress.step(3, {"loss": 1.0})
    run(tracked, out=out, stages=stages, until="sft")
    assert stages.calls == ["tokenizer", "pretrain", "sft"]  # what was done without it stands
    assert given == [("run/03-sft", 3, {"loss": 1.0})]


def test_a_logger_whose_package_is_missing_stops_before_the_first_stage(
    recipe_file: Path, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="wandb is not installed"):
        run(load_recipe(recipe_file, ["track=[wandb]"]), out=tmp_path / "run", stages=stages)
    assert stages.calls == []
