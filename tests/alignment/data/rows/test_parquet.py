"""Parquet as rows: damage costs its row group, an odd value its row, and nothing is written out beyond its bounds."""

from __future__ import annotations

import datetime
import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignment.data.forms.columns import Reading, RowFault
from alignment.data.rows.files import read_rows
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.quarantine import BadRow
from alignment.data.settings import SourceSettings
from alignment.errors import DataError


def events(path: Path, **settings: object) -> list[RawRow | BadRow]:
    source = SourceSettings(path=str(path), **settings)
    return [e for e in read_rows(path, source) if isinstance(e, (RawRow, BadRow))]


def good(found: list[RawRow | BadRow]) -> list[dict[str, object]]:
    return [dict(e.value) for e in found if isinstance(e, RawRow)]


def write(path: Path, **columns: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def write_parquet(path: Path, rows: int, group: int = 100) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "messages": [
                [
                    {"role": "user", "content": f"question {n}"},
                    {"role": "assistant", "content": f"answer {n}"},
                ]
                for n in range(rows)
            ],
            "score": pa.array([float(n) for n in range(rows)]),
        }
    )
    pq.write_table(table, path, row_group_size=group, compression="none", use_dictionary=False)


def test_parquet_rows_are_numbered_over_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, 250)
    found = [e for e in events(path) if isinstance(e, RawRow)]
    assert [e.source.line for e in found] == list(range(1, 251))
    assert found[130].value["messages"][1] == {"role": "assistant", "content": "answer 130"}
    assert found[130].place == "row group 2, row 31"


def test_gzipped_parquet_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", 3)
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    assert len(good(events(tmp_path / "rows.parquet.gz"))) == 3


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, 10)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        events(path)


def test_a_damaged_page_costs_its_row_group_and_every_lost_row_is_counted(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    write_parquet(path, 300)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + 12] = b"\xff" * 12
    path.write_bytes(bytes(data))
    found = events(path)
    lost = [e for e in found if isinstance(e, BadRow)]
    assert [e.source.line for e in found if isinstance(e, RawRow)] == [*range(1, 101), *range(201, 301)]
    assert [(e.line, e.rows, e.reason) for e in lost] == [(101, 100, "a damaged Parquet page")]
    assert lost[0].place == "row group 2, rows 1 to 100"


def test_a_value_that_python_cannot_hold_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    import pyarrow as pa

    late = pa.array([0, 2**62], pa.timestamp("us"))
    elsewhere = pa.array([0, 1], pa.timestamp("us", tz="Mars/Base"))
    found = good(events(write(tmp_path / "rows.parquet", text=["a", "b"], late=late, elsewhere=elsewhere)))
    assert [row["text"] for row in found] == ["a", "b"]
    assert found[0]["late"] == datetime.datetime(1970, 1, 1)


def test_a_value_that_python_cannot_hold_costs_its_row_where_it_is_used(tmp_path: Path) -> None:
    import pyarrow as pa

    path = write(tmp_path / "rows.parquet", text=pa.array([0, 2**62], pa.timestamp("us")))
    source = SourceSettings(path=str(path))
    (_, row) = [e for e in read_rows(path, source) if isinstance(e, RawRow)]
    with pytest.raises(RowFault, match="text is unreadable"):
        Reading(source, seed=0).text(row.value, "text")


def test_every_kind_of_column_comes_as_plain_values(tmp_path: Path) -> None:
    import pyarrow as pa

    talk = [{"role": "user", "content": "a", "n": 1}]
    columns: dict[str, Any] = {
        "text": ["a", None],
        "large": pa.array(["a", None], pa.large_string()),
        "view": pa.array(["a", "b"], pa.string_view()),
        "word": pa.array(["a", "b"]).dictionary_encode(),
        "talk": [talk, None],
        "lists": pa.array([[["a"], []], None], pa.list_(pa.list_(pa.string()))),
        "pair": pa.array([["a", "b"], None], pa.list_(pa.string(), 2)),
        "map": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
        "number": [1, None],
        "nothing": pa.array([None, None]),
    }
    first, second = good(events(write(tmp_path / "rows.parquet", **columns)))
    assert first == {
        **dict.fromkeys(("text", "large", "view", "word"), "a"),
        "talk": talk,
        "lists": [["a"], []],
        "pair": ["a", "b"],
        "map": [("k", "v")],
        "number": 1,
        "nothing": None,
    }
    assert second == {**dict.fromkeys(columns), "view": "b", "word": "b"}


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["text", "more", "text"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="has a column twice among text, more, text"):
        events(tmp_path / "rows.parquet")


def test_a_row_over_the_limit_is_set_aside_and_costs_no_other(tmp_path: Path) -> None:
    talks = [[{"role": "user", "content": text * n}] for text, n in (("a", 5), ("b", 3000), ("c", 5))]
    found = events(write(tmp_path / "rows.parquet", messages=talks), max_row_bytes=1000)
    assert [e.source.line for e in found if isinstance(e, RawRow)] == [1, 3]
    (long,) = [e for e in found if isinstance(e, BadRow)]
    assert (long.line, long.reason, long.place) == (2, "the row is too long", "row group 1, row 2")
    assert long.detail.startswith("3,0")


def test_rows_of_a_group_larger_than_is_written_out_at_a_time_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignment.data.rows.parquet.WRITTEN_OUT", 500)
    texts = [f"{n}" * (n % 90 + 1) for n in range(600)]
    found = events(write(tmp_path / "rows.parquet", text=texts))
    assert [e.value["text"] for e in found if isinstance(e, RawRow)] == texts
    assert [e.source.line for e in found if isinstance(e, RawRow)] == list(range(1, 601))


BOMBS = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
big = pa.array(["x" * 5_000_000])
def texts(n): return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), big)
one = {"text": texts(256), "more": texts(256)}
many = {"text": pa.ListArray.from_arrays(pa.array([0, 100_000], pa.int32()), texts(100_000))}
bombs = {"rows": one, "list": many, "numbers": {"n": pa.array(np.zeros(50_000_000, np.int8))}}
pq.write_table(pa.table(bombs[sys.argv[2]]), sys.argv[1], compression="zstd", row_group_size=50_000_000)
"""
READ = """
import resource, sys
from pathlib import Path
from alignment.data.rows.files import read_rows
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
import pyarrow.parquet, pyarrow.compute
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
def peak(): return int([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]) // 1024
before = peak()
try:
    said = [str(getattr(row, "reason", "a row")) for row in read_rows(Path(sys.argv[1]), SourceSettings(path="x"))]
except DataError as error:
    said = str(error)
print(said, peak() - before, sep="|")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bomb", "said"),
    [
        ("rows", "unpacks to more than 250 times"),
        ("list", "the row is too long"),
        ("numbers", "row group 1, unpacks to more than 250 times"),
    ],
)
def test_a_file_of_kilobytes_that_holds_gigabytes_is_refused_in_bounded_memory(
    tmp_path: Path, bomb: str, said: str
) -> None:
    path = tmp_path / "rows.parquet"
    here = {"PYTHONPATH": str(Path(__file__).parents[4]), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", BOMBS, str(path), bomb], env=here, check=True, timeout=60)
    assert path.stat().st_size < 200_000
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], env=here, check=True, timeout=60, capture_output=True, text=True
    )
    message, megabytes = done.stdout.rsplit("|", 1)
    assert said in message
    assert int(megabytes) < 250
