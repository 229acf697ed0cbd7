"""Pipes and devices where a file belongs are refused at once; nothing waits for their other end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alignment.data.rows.files import read_rows
from alignment.data.rows.lines import read_chunks
from alignment.data.rows.written import read_records
from alignment.data.settings import SourceSettings
from alignment.data.sources import file_sha256
from alignment.errors import AlignmentError, CheckpointError
from alignment.store.journal import Journal, read_journal
from alignment.store.manifest import file_digest, read_manifest
from alignment.store.regular import open_regular, read_regular


@pytest.fixture(params=["pipe", "device", "link to a device"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_at_once(odd: Path) -> None:
    for read in (open_regular, read_regular, file_digest):
        with pytest.raises(OSError, match=r"it is a (pipe|device); a regular file is needed"):
            read(odd)


@pytest.mark.timeout(20)
def test_rows_are_not_waited_for(odd: Path) -> None:
    for read in (file_sha256, lambda path: next(read_chunks(path)), lambda path: next(read_records(path))):
        with pytest.raises(AlignmentError, match=r"it is a (pipe|device)"):
            read(odd)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".parquet", ".jsonl.gz", ".parquet.gz"])
def test_no_reader_of_rows_waits_for_a_pipe(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    os.mkfifo(path)
    with pytest.raises(AlignmentError, match="is a pipe"):
        list(read_rows(path, SourceSettings(path=str(path))))


@pytest.mark.timeout(20)
def test_a_journal_is_not_read_from_nor_written_to_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    for open_journal in (read_journal, Journal):
        with pytest.raises(CheckpointError, match="it is a pipe"):
            open_journal(tmp_path / "metrics.jsonl")


@pytest.mark.timeout(20)
def test_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(CheckpointError, match="it is a pipe"):
        read_manifest(tmp_path)


def test_a_linked_journal_is_refused_and_its_target_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"mine": 1}\n')
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "mine.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nothing-there")
    for name in ("metrics.jsonl", "dangling.jsonl"):
        with pytest.raises(CheckpointError, match="is a symbolic link"):
            Journal(tmp_path / name)
    assert (tmp_path / "mine.jsonl").read_text() == '{"mine": 1}\n'
    assert not (tmp_path / "nothing-there").exists()


def test_a_regular_file_is_read_whole_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"abc"
