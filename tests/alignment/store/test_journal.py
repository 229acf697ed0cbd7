"""Whole lines are the truth: a torn tail is cut wherever it was torn, damage before it is refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from alignment.errors import CheckpointError, DiskFull
from alignment.store import journal as journal_room
from alignment.store.journal import Journal, read_journal

RECORDS = [{"step": 1, "loss": 2.5}, {"step": 2, "text": "zeile\n🦙 \ud800"}, {"step": 3, "loss": 1.0}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append_all(RECORDS)
    return tmp_path / "metrics.jsonl"


def test_what_was_appended_is_read_back(path: Path) -> None:
    assert read_journal(path) == RECORDS
    assert path.read_bytes().count(b"\n") == 3


def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(path: Path) -> None:
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        keep = whole[:cut].count(b"\n")
        assert read_journal(path) == RECORDS[:keep], f"cut at {cut}"
        with Journal(path) as journal:
            assert journal.cut_bytes == cut - (whole[:cut].rfind(b"\n") + 1)
            assert journal.records == RECORDS[:keep]
            journal.append({"again": True})
        assert read_journal(path) == [*RECORDS[:keep], {"again": True}], f"cut at {cut}"


@pytest.mark.parametrize("torn", [b'{"step": 4, "lo\n', b'{"st\0\0\0\0\0\0,"sha256":"0123456789abcdef"}\n'])
def test_a_last_line_torn_inside_but_closed_is_cut_too(path: Path, torn: bytes) -> None:
    with path.open("ab") as file:
        file.write(torn)
    with Journal(path) as journal:
        assert (journal.records, journal.cut_bytes) == (RECORDS, len(torn))


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_changed_digit_is_refused_with_file_and_line(path: Path, line: int) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = lines[line - 1].replace(f'"step":{line}'.encode(), b'"step":9')
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    for read in (read_journal, Journal):
        with pytest.raises(CheckpointError, match=rf"metrics\.jsonl:{line} was altered \(its checksum does not fit"):
            read(path)
    assert path.read_bytes() == before


def test_every_flipped_bit_of_a_line_is_refused_or_leaves_its_content(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    end = whole.index(b"\n", start)
    for bit in range(8 * start, 8 * end):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl:[23] "):
            read_journal(path)


def test_a_journal_from_before_checksums_is_read_and_goes_on(path: Path) -> None:
    path.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "id": "0123456789abcdef"}\n')
    old = [{"step": 1, "loss": 2.5}, {"step": 2, "id": "0123456789abcdef"}]
    with Journal(path) as journal:
        journal.append({"step": 3})
    assert read_journal(path) == [*old, {"step": 3}]


def test_a_line_that_lost_its_checksum_among_others_is_refused(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"step": 4}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:4 has no checksum"):
        Journal(path)


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"step": ', b"\xff\xfe", b"[" * 20_000])
def test_a_damaged_middle_line_is_refused_with_its_number(path: Path, damage: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2 is not a whole JSON object"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 9])
def test_rewinding_keeps_the_first_records_and_appends_after_them(path: Path, keep: int) -> None:
    with Journal(path) as journal:
        journal.rewind(keep)
        assert journal.records == RECORDS[:keep]
        journal.append({"next": keep}, flush=False)
        assert journal.records == [*RECORDS[:keep], {"next": keep}]
    assert read_journal(path) == [*RECORDS[:keep], {"next": keep}]


def test_records_appended_before_a_rewind_can_be_taken_back(path: Path) -> None:
    with Journal(path) as journal:
        journal.append({"step": 4}, flush=False)
        journal.rewind(3)
    assert read_journal(path) == RECORDS


def test_a_reader_sees_records_that_were_not_flushed_to_disk(path: Path) -> None:
    with Journal(path) as journal:
        journal.append({"step": 4}, flush=False)
        assert read_journal(path) == [*RECORDS, {"step": 4}]


def test_an_invented_number_is_refused_and_nothing_is_appended(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append_all([{"step": 4}, {"step": 5, "loss": float("nan")}])
        assert journal.records == RECORDS
    assert read_journal(path) == RECORDS


def test_no_space_is_told_and_what_was_there_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(journal_room.os, "fsync", full)
        with pytest.raises(DiskFull, match="39 bytes are needed"):
            journal.append({"step": 4})
    assert journal.records == RECORDS
    journal.close()
    assert read_journal(path)[:3] == RECORDS


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none") == []
