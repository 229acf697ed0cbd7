"""Bytes into lines: nothing over the limit is held, and a damaged gzip gives all it has before it is told."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.data.rows import lines as lines_module
from alignment.data.rows.lines import BlankLines, Broken, Line, read_lines
from alignment.errors import DataError


def write(folder: Path, data: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def texts(path: Path, limit: int = 1000) -> list[tuple[int, bytes | None]]:
    return [(e.number, e.data) for e in read_lines(path, max_bytes=limit) if isinstance(e, Line)]


def broken(path: Path) -> Broken:
    events = list(read_lines(path, max_bytes=10_000))
    assert isinstance(events[-1], Broken)
    return events[-1]


def test_lines_are_numbered_from_one_and_blank_ones_count(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n\n  \nb\nc")
    assert texts(path) == [(1, b"a"), (4, b"b"), (5, b"c")]
    assert sum(e.count for e in read_lines(path, max_bytes=9) if isinstance(e, BlankLines)) == 2


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_a_line(tmp_path: Path) -> None:
    assert texts(write(tmp_path, b"\xef\xbb\xbfa\r\nb\r\n")) == [(1, b"a"), (2, b"b")]


def test_a_line_over_the_limit_comes_without_data_but_with_its_size_and_head(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n" + b"x" * 5000 + b"\nb\n")
    long = next(e for e in read_lines(path, max_bytes=100) if isinstance(e, Line) and e.data is None)
    assert (long.number, long.size, long.head) == (2, 5000, b"x" * 200)
    assert texts(path, 100) == [(1, b"a"), (2, None), (3, b"b")]


@given(
    st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=20),
    st.integers(1, 7),
)
def test_lines_do_not_depend_on_where_chunks_are_cut(tmp_path_factory, rows: list[bytes], size: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(row + b"\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "READ_BYTES", 3 + size)
        found = [(e.number, e.data) for e in read_lines(path, max_bytes=20) if isinstance(e, Line)]
    expected = [(n, row if len(row) <= 20 else None) for n, row in enumerate(rows, start=1) if row.strip()]
    assert [f for f in found if f[1] is None or f[1].strip()] == expected


def test_a_gzip_of_several_members_with_names_and_padding_is_read_whole(tmp_path: Path) -> None:
    first = tmp_path / "first.gz"
    with gzip.GzipFile(first, "wb", mtime=0) as file:  # this writer stores the file's name in the header
        file.write(b"a\nb")
    path = write(tmp_path, first.read_bytes() + gzip.compress(b"c\nd\n") + b"\0" * 512, "rows.jsonl.gz")
    assert texts(path) == [(1, b"a"), (2, b"bc"), (3, b"d")]


@pytest.mark.parametrize("cut", [1, 4, 8, 30])
def test_a_cut_gzip_gives_the_lines_before_the_cut(tmp_path: Path, cut: int) -> None:
    noise = b"".join(b"%d %x\n" % (n, n * 2654435761 % 2**32) for n in range(50))
    path = write(tmp_path, gzip.compress(noise)[:-cut], "rows.jsonl.gz")
    rows = texts(path)
    assert rows == list(enumerate(noise.splitlines(), start=1))[: len(rows)]
    assert len(rows) >= (50 if cut <= 8 else 40)
    assert "cut" in broken(path).reason


def test_a_wrong_checksum_is_told_after_every_line_was_given(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"a\nb\n"))
    data[-8] ^= 255
    path = write(tmp_path, bytes(data), "rows.jsonl.gz")
    assert texts(path) == [(1, b"a"), (2, b"b")]
    assert "checksum" in broken(path).reason


def test_rubbish_after_the_gzip_is_told_after_every_line_was_given(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a\nb\n") + b"rubbish", "rows.jsonl.gz")
    assert texts(path) == [(1, b"a"), (2, b"b")]
    assert "rubbish" in broken(path).reason


def test_a_plain_file_named_gz_is_told(tmp_path: Path) -> None:
    assert "not a gzip" in broken(write(tmp_path, b'{"a": 1}\n', "rows.jsonl.gz")).reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_file_of_another_unicode_encoding_is_told_as_such(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=f"is {encoding.upper()} "):
        list(read_lines(write(tmp_path, "a\n".encode(encoding)), max_bytes=100))


@pytest.mark.slow
@pytest.mark.parametrize("block", [b" " * 2**20, b"\n" * 2**20, b"{}\n" * 349_525], ids=["space", "blank", "rows"])
def test_a_gzip_of_one_megabyte_that_holds_a_gigabyte_is_refused_in_bounded_memory(
    tmp_path: Path, block: bytes
) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(block, 9) * 1024)  # members one after the other are one file
    assert path.stat().st_size < 4 * 2**20
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from pathlib import Path\n"
        "from alignment.data.corpus import load_dialogues\n"
        "from alignment.data.settings import DataSettings, SourceSettings\n"
        "from alignment.errors import DataError\n"
        "try:\n"
        "    load_dialogues(DataSettings(train=[SourceSettings(path=sys.argv[1])]), seed=0, quarantine=None)\n"
        "except DataError as error:\n"
        # not ru_maxrss: it starts at the size of the process that started this one
        "    peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
        "    print(str(error)[:300], int(peak.split()[1]) // 1024, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(Path(__file__).parents[4]), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    message, peak = done.stdout.rsplit("|", 1)
    assert "unpacks to more than" in message or "cannot be used" in message
    assert int(peak) < 400, "megabytes resident"
