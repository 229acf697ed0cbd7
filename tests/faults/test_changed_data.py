"""R11: a data file changed under a run is refused by name, whatever its size and time say; a touched one is not."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import AlignmentError, Interrupted, RunChanged
from alignment.train.session import StopFlag
from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.running.runner import run
from recipes.stages.context import StageContext
from recipes.stages.kind import StageInputs
from recipes.stages.table import STAGES

RECIPE = """
model: {size: tiny, context_length: 128}
tokenizer: {vocab_size: 400}
pretrain: {data: {train: [{path: TEXTS}]}}
sft: {data: {train: [{path: ROWS}]}}
"""
ROWS = [b'{"instruction": "Count to %d.", "output": "%d"}' % (n, n) for n in range(10, 30)]


def _one_byte(data: bytes) -> bytes:
    return data.replace(b"to 11.", b"to 71.", 1)


def _one_more_row(data: bytes) -> bytes:
    return data + ROWS[3] + b"\n"


def _other_order(data: bytes) -> bytes:
    return b"".join(line + b"\n" for line in reversed(data.splitlines()))


def _one_row_less(data: bytes) -> bytes:
    return data[: data.rstrip(b"\n").rindex(b"\n") + 1]


CHANGES = [_one_byte, _one_more_row, _other_order, _one_row_less]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The file that SFT reads; pretraining reads another."""
    (tmp_path / "texts.txt").write_text("once upon a time\n")
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(row + b"\n" for row in ROWS))
    return path


@pytest.fixture
def recipe(rows: Path) -> Recipe:
    file = rows.with_name("recipe.yaml")
    file.write_text(RECIPE.replace("TEXTS", str(rows.with_name("texts.txt"))).replace("ROWS", str(rows)))
    return load_recipe(file)


def _work(inputs: StageInputs, context: StageContext) -> dict[str, Any]:
    (context.session.folder / "made").write_text(context.stage.name)
    return {}


def _stopped_in_sft(inputs: StageInputs, context: StageContext) -> dict[str, Any]:
    _work(inputs, context)
    if context.stage.name == "sft":
        raise Interrupted(15, step=3)
    return {}


def _tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def _resume(recipe: Recipe, out: Path) -> list[str]:
    """Go on; returns the stages that were worked on."""
    summary = run(recipe, out=out, stages=dict.fromkeys(STAGES, _work), stop=StopFlag())
    return [stage.name for stage in summary.stages if stage.worked]


@pytest.mark.parametrize("stage", [_work, _stopped_in_sft], ids=["finished", "interrupted"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_other_content_is_refused_by_name_even_at_its_old_time(
    change: Callable[[bytes], bytes], stage: Any, recipe: Recipe, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    try:
        run(recipe, out=out, stages=dict.fromkeys(STAGES, stage), stop=StopFlag())
    except Interrupted:
        assert stage is _stopped_in_sft
    before, facts, data = _tree(out), rows.stat(), rows.read_bytes()
    rows.write_bytes(change(data))
    assert rows.read_bytes() != data
    assert change is not _one_byte or rows.stat().st_size == facts.st_size
    os.utime(rows, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(RunChanged, match=r"file sft\.data\.train\.0\.path: \w{12}… -> \w{12}…") as caught:
        _resume(recipe, out)
    fallen = re.search(r"These stages fall: (.*)\.", str(caught.value))
    assert fallen
    assert {"tokenizer", "sft"} <= set(fallen.group(1).split(", "))  # the two that read the file
    assert _tree(out) == before
    rows.write_bytes(data)  # the old content under a new time: nothing has changed
    assert "sft" in _resume(recipe, out) or stage is _work


@pytest.mark.parametrize("when", [0, 1, 2_000_000_000])
def test_a_touched_file_is_accepted(when: int, recipe: Recipe, rows: Path, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "run", stages=dict.fromkeys(STAGES, _work), stop=StopFlag())
    os.utime(rows, (when, when))
    assert _resume(recipe, tmp_path / "run") == []


def test_a_file_that_was_renamed_and_one_that_joined_a_glob_are_refused(rows: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.replace("TEXTS", str(tmp_path / "texts.txt")).replace("ROWS", f'"{tmp_path}/part-*.jsonl"'))
    rows.rename(tmp_path / "part-1.jsonl")
    recipe, out = load_recipe(file), tmp_path / "run"
    run(recipe, out=out, stages=dict.fromkeys(STAGES, _work), stop=StopFlag())
    (tmp_path / "part-2.jsonl").write_bytes(ROWS[0] + b"\n")
    with pytest.raises(RunChanged, match=r"file sft\.data\.train\.0\.path/part-2\.jsonl: \(absent\) -> "):
        _resume(recipe, out)
    (tmp_path / "part-1.jsonl").unlink()
    with pytest.raises(RunChanged, match=r"part-1\.jsonl: \w{12}… -> \(absent\)"):
        _resume(recipe, out)
    (tmp_path / "part-2.jsonl").unlink()
    with pytest.raises(AlignmentError, match=r"sft\.data\.train\.0\.path"):
        _resume(recipe, out)


def test_a_gzip_packed_anew_is_other_content(tmp_path: Path, rows: Path) -> None:
    """The bytes are what is compared; the same rows under another gzip header are refused, not guessed about."""
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(rows.read_bytes(), mtime=1))
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.replace("TEXTS", str(tmp_path / "texts.txt")).replace("ROWS", str(packed)))
    recipe, out = load_recipe(file), tmp_path / "run"
    run(recipe, out=out, stages=dict.fromkeys(STAGES, _work), stop=StopFlag())
    packed.write_bytes(gzip.compress(rows.read_bytes(), mtime=2))
    with pytest.raises(RunChanged, match=r"file sft\.data\.train\.0\.path"):
        _resume(recipe, out)
