"""What may be a run's folder, and what stands in one: nothing else is ever touched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.errors import AlignmentError, CheckpointError, UsageError
from alignment.store.atomic import staged_folder
from alignment.store.manifest import write_manifest
from recipes.reading.schema import Recipe
from recipes.running.folder import (
    check_run_folder,
    is_locked,
    make_run_folder,
    mark_run,
    put_aside,
    require_run,
    stage_folders,
)
from recipes.running.record import StageRecord, altered_output, holds_work, outputs_of, read_record, write_record
from recipes.running.runner import run


def tree_hash(folder: Path) -> str:
    """Digest of every name and byte below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b"/"))
    return digest.hexdigest()


def record(**changes: Any) -> StageRecord:
    """A finished stage's record."""
    values: dict[str, Any] = {
        "name": "sft",
        "kind": "sft",
        "status": "finished",
        "fingerprint": "f",
        "basis": {"kind": "sft"},
        "started": "2026-01-01T00:00:00Z",
    }
    return StageRecord(**(values | changes))


def _foreign(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")


def _file(place: Path) -> None:
    place.write_text("a file")


def _link(place: Path) -> None:
    (place.parent / "target").mkdir()
    place.symlink_to(place.parent / "target")


def _dangling(place: Path) -> None:
    place.symlink_to(place.parent / "nowhere")


def _newer(place: Path) -> None:
    place.mkdir()
    (place / "run.json").write_text('{"version": 2}')


def _below_a_file(place: Path) -> None:
    place.parent.write_text("a file")


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (_foreign, "run", "is no run: it holds 'thesis.tex'"),
        (_file, "run", "is a file"),
        (_link, "run", "is a symbolic link"),
        (_dangling, "run", "is a symbolic link"),
        (_newer, "run", "is of version 2; this release reads version 1"),
        (_below_a_file, "f/run", "cannot be"),
        (lambda place: None, "x" * 256, "cannot be"),
    ],
)
def test_what_is_no_run_is_refused_and_untouched(
    make: Any, name: str, said: str, recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    place = tmp_path / name
    make(place)
    before = tree_hash(tmp_path)
    with pytest.raises(UsageError, match=said) as caught:
        run(recipe, out=place, stages=stages)
    assert caught.value.exit_code == 2
    assert tree_hash(tmp_path) == before
    assert stages.calls == []


@pytest.mark.parametrize("name", ["x" * 255, "with space", "ünïcode-名前", "-q", "a'b\"c", "new/deep/er"])
def test_odd_but_possible_names_work(name: str, recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / name, stages=stages, until="tokenizer")
    assert (tmp_path / name / "01-tokenizer" / "made.json").exists()


def test_a_place_that_cannot_be_written_is_refused(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose another place"):
        make_run_folder(Path("/proc/align-run"))
    assert stages.calls == []


def test_an_empty_folder_and_one_with_only_a_lock_become_runs(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("")
    assert not check_run_folder(tmp_path / "run")
    run(recipe, out=tmp_path / "run", stages=stages, until="tokenizer")
    assert check_run_folder(tmp_path / "run")


def test_a_stage_folder_that_is_a_link_is_refused(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages, until="tokenizer")
    (tmp_path / "outside").mkdir()
    (out / "02-pretrain").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="02-pretrain is a symbolic link"):
        run(recipe, out=out, stages=stages)
    assert list((tmp_path / "outside").iterdir()) == []


def test_reading_verbs_need_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run; `align run RECIPE --out"):
        require_run(tmp_path / "none")


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = record(result={"loss": 1.5}, outputs={"a": "b"}, seconds=2.5, error=None)
    write_record(tmp_path, written)
    assert read_record(tmp_path) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1}',
        '{"version": 1, "name": 3}',
        "{" * 100_000,
        '{"version": 1, "x": 1}',
    ],
)
def test_a_damaged_record_is_a_checkpoint_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"stage\.json"):
        read_record(tmp_path)


@settings(max_examples=300, deadline=2000)
@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["version", "name", "status", "basis", "kind"]),
        st.none() | st.integers(0, 2) | st.text(max_size=3),
    ).map(lambda d: json.dumps(d).encode())
)
def test_random_bytes_as_records_are_only_this_suites_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("stage.json", "run.json"):
        (folder / name).write_bytes(data)
    for read in (read_record, check_run_folder):
        told = ""
        try:
            read(folder)
        except AlignmentError as error:  # anything else fails the test
            told = str(error)
        assert told == "" or ".json" in told


def test_outputs_are_manifests_and_files_but_not_records_of_what_happened(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "checkpoint") as aside:
        (aside / "weights").write_text("1")
        manifest = write_manifest(aside, kind="policy", meta={})
    (tmp_path / "kept.jsonl").write_text("{}\n")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    write_record(tmp_path, record())
    outputs = outputs_of(tmp_path)
    assert outputs == {"checkpoint": manifest.digest, "kept.jsonl": hashlib.sha256(b"{}\n").hexdigest()}
    finished = record(outputs=outputs)
    assert altered_output(tmp_path, finished) is None
    with staged_folder(tmp_path / "checkpoint", replace=True) as aside:
        (aside / "weights").write_text("2")
        write_manifest(aside, kind="policy", meta={})
    assert altered_output(tmp_path, finished) == "checkpoint was replaced by another"


def test_work_is_what_starting_anew_would_lose(tmp_path: Path) -> None:
    for name in ("stage.json", "metrics.jsonl", "quarantine.jsonl", "quarantine-safety.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert not holds_work(tmp_path)
    (tmp_path / "checkpoints" / "step-000002").mkdir(parents=True)
    assert not holds_work(tmp_path)
    (tmp_path / "checkpoints" / "step-000002" / "model.safetensors").write_text("x")
    assert holds_work(tmp_path)


def test_putting_aside_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    places = []
    for content in ("one", "two"):
        (tmp_path / "03-sft").mkdir()
        (tmp_path / "03-sft" / "made").write_text(content)
        places.append(put_aside(tmp_path, [tmp_path / "03-sft"]))
    assert [(place / "03-sft" / "made").read_text() for place in places if place] == ["one", "two"]
    assert put_aside(tmp_path, []) is None


def test_only_numbered_folders_are_stages(tmp_path: Path) -> None:
    for name in ("01-tokenizer", "10-rlhf-v1", "report", ".replaced", "1-x", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "02-file").write_text("")
    mark_run(tmp_path, "x")
    assert [path.name for path in stage_folders(tmp_path)] == ["01-tokenizer", "10-rlhf-v1"]


def test_a_run_without_a_process_is_not_locked(tmp_path: Path) -> None:
    from alignment.store.lock import RunLock

    assert not is_locked(tmp_path)
    with RunLock(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
