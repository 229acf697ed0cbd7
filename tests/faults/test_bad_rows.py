"""R13: bad rows put anywhere into a good file cost no good row, and each is found in quarantine by file and line.

The kinds are the corpus of the reliability bars; what each reader makes of them one by one is tested in
`tests/alignment/data`.  Here they come mixed, in every form of file, through the same call that stages make.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.data.corpus import Loaded, load_dialogues, load_documents, load_preferences
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError, TooManyBadRows

MAX_ROW_BYTES = 20_000


def _dialogue(*turns: tuple[Any, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _good(number: int) -> bytes:
    value = _dialogue(("user", f"question {number}: why?\n\ttabs, Ω, 🦙"), ("assistant", f" answer {number} "))
    return json.dumps(value, ensure_ascii=bool(number % 2)).encode()


def _of(*turns: tuple[Any, Any]) -> bytes:
    return json.dumps(_dialogue(*turns)).encode()


USER, ANSWER, SYSTEM = ("user", "a"), ("assistant", "b"), ("system", "c")
# kind -> the line and what is said about it
BAD: dict[str, tuple[bytes, str]] = {
    "invalid UTF-8": (_of(USER, ANSWER).replace(b'"a"', b'"caf\xe9"'), "not UTF-8"),
    "a byte-order mark inside": (b"\xef\xbb\xbf" + _of(USER, ANSWER), "not JSON"),
    "NUL": (_of(USER, ANSWER).replace(b'"a"', b'"a\0"'), "a NUL byte"),
    "NUL, escaped": (_of(("user", "a\0"), ANSWER), "a NUL byte"),
    "lone surrogate": (_of(("user", "a \ud800"), ANSWER), "a lone surrogate"),
    "cut": (_of(USER, ANSWER)[:-9], "the row is cut"),
    "two objects on a line": (_of(USER, ANSWER) + b" " + _of(USER, ANSWER), "more than one value on a line"),
    "array": (b"[" + _of(USER, ANSWER) + b"]", "not a JSON object"),
    "bare NaN": (_of(USER, ANSWER)[:-1] + b', "score": NaN}', "NaN or Infinity, which JSON does not have"),
    "duplicate keys": (b'{"messages": [], ' + _of(USER, ANSWER)[1:], "a key stands twice in one object"),
    "missing field": (b'{"id": 7}', "a missing field"),
    "null field": (b'{"messages": null}', "a field is null"),
    "wrong type": (b'{"messages": "hello"}', "a field is of the wrong type"),
    "empty prompt": (_of(("user", ""), ANSWER), "an empty message"),
    "blank answer": (_of(USER, ("assistant", " \n")), "an empty message"),
    "roles out of order": (_of(ANSWER, USER), "the dialogue begins with the assistant"),
    "two system turns": (_of(SYSTEM, SYSTEM, USER, ANSWER), "two system turns"),
    "long line": (_of(USER, ("assistant", "x" * MAX_ROW_BYTES)), "the row is too long"),
    "depth 10,000": (b'{"a": ' + b"[" * 9_900 + b"]" * 9_900 + b"}", "nested too deeply"),
    "[INST]": (_of(("user", "[INST] a"), ANSWER), "a control token in a message"),
    "<<SYS>>": (_of(("user", "<<SYS>> be bad"), ANSWER), "a control token in a message"),
    "</s>": (_of(("user", "a</s>"), ANSWER), "a control token in a message"),
}
BLANK = [b"", b"   ", b"\t"]  # no rows at all: neither good nor bad


@dataclass(frozen=True)
class Form:
    """How lines become a file."""

    name: str
    end: bytes = b"\n"
    begin: bytes = b""
    pack: Callable[[bytes], bytes] = bytes

    def write(self, folder: Path, lines: list[bytes]) -> Path:
        path = folder / self.name
        path.write_bytes(self.pack(self.begin + b"".join(line + self.end for line in lines)))
        return path


FORMS = [
    Form("rows.jsonl"),
    Form("rows.jsonl", end=b"\r\n"),
    Form("rows.jsonl", begin=b"\xef\xbb\xbf"),
    Form("rows.jsonl.gz", pack=gzip.compress),
]


def load(path: Path, quarantine: Path | None = None, **changes: Any) -> Loaded[Any]:
    source = SourceSettings(path=str(path), form="messages", max_row_bytes=MAX_ROW_BYTES)
    return load_dialogues(DataSettings(train=(source,), **changes), seed=0, quarantine=quarantine)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_bad_kind_alone_is_set_aside_for_its_reason(tmp_path: Path) -> None:
    wrong = []
    for kind, (line, reason) in BAD.items():
        path = Form("rows.jsonl").write(tmp_path, [_good(0), line, _good(1)])
        data = load(path, tmp_path / "bad.jsonl", max_bad_fraction=1.0)
        told = [(entry["line"], entry["reason"]) for entry in entries(tmp_path / "bad.jsonl")]
        if told != [(2, reason)] or [d.source.line for d in data.train] != [1, 3]:
            wrong.append((kind, told))
    assert wrong == []


@settings(max_examples=80, deadline=None)
@given(
    good=st.integers(1, 25),
    inserted=st.lists(st.tuples(st.integers(0, 25), st.sampled_from([*sorted(BAD), *BLANK])), max_size=12),
    form=st.sampled_from(FORMS),
)
def test_every_good_row_survives_in_order_and_every_bad_one_is_told(
    tmp_path_factory: pytest.TempPathFactory, good: int, inserted: list[tuple[int, str | bytes]], form: Form
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines: list[bytes | str] = [_good(number) for number in range(good)]
    for at, kind in inserted:
        lines.insert(min(at, len(lines)), kind)
    if isinstance(lines[0], str):
        lines.insert(0, b"")  # the mark is the file's, not the bad row's
    written = [BAD[line][0] if isinstance(line, str) else line for line in lines]
    path = form.write(folder, written)
    data = load(path, folder / "bad.jsonl", max_bad_fraction=1.0)
    # unchanged and in order, each with the number of its own line
    assert [written[dialogue.source.line - 1] for dialogue in data.train] == [_good(n) for n in range(good)]
    assert [dialogue.turns[0].content for dialogue in data.train] == [
        f"question {n}: why?\n\ttabs, Ω, 🦙" for n in range(good)
    ]
    assert [dialogue.turns[1].content for dialogue in data.train] == [f" answer {n} " for n in range(good)]
    found = entries(folder / "bad.jsonl")
    expected = [(number, line) for number, line in enumerate(lines, start=1) if isinstance(line, str)]
    assert [(entry["file"], entry["line"], entry["reason"]) for entry in found] == [
        (str(path), number, BAD[kind][1]) for number, kind in expected
    ]
    for entry, (_, kind) in zip(found, expected, strict=True):
        text = BAD[kind][0].decode("utf-8", "backslashreplace")
        assert entry["excerpt"] == text[:200]
    (told,) = data.report.sources
    assert told.good + told.bad == told.read == good + len(expected)
    assert told.blank == len(lines) - told.read


@settings(max_examples=40, deadline=None)
@given(good=st.integers(1, 60), bad=st.integers(0, 20), allowed=st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5]))
def test_more_bad_rows_than_allowed_stop_and_no_fewer(
    tmp_path_factory: pytest.TempPathFactory, good: int, bad: int, allowed: float
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    path = Form("rows.jsonl").write(folder, [_good(n) for n in range(good)] + [BAD["cut"][0]] * bad)
    if bad / (good + bad) > allowed:
        with pytest.raises(TooManyBadRows, match=rf"{bad} of {good + bad} rows .*{bad} × the row is cut"):
            load(path, folder / "bad.jsonl", max_bad_fraction=allowed)
    else:
        assert len(load(path, folder / "bad.jsonl", max_bad_fraction=allowed).train) == good
    assert len(entries(folder / "bad.jsonl")) == bad  # told in full either way


PAIR = {"prompt": "a", "chosen": "good", "rejected": "bad", "grade": "better"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rejected": "good"}, "chosen and rejected are equal"),
        ({"rejected": " good\n"}, "chosen and rejected are equal"),
        ({"grade": "enormously"}, "a grade outside its scale"),
        ({"grade": 9}, "a grade outside its scale"),
        ({"chosen": ""}, "an empty message"),
        ({"rejected": None}, "a field is null"),
        ({"prompt": ""}, "an empty message"),
    ],
)
def test_a_pair_that_says_nothing_is_set_aside(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    rows = [PAIR, {**PAIR, **change}, {**PAIR, "prompt": "b"}]
    path = Form("rows.jsonl").write(tmp_path, [json.dumps(row).encode() for row in rows])
    data = DataSettings(train=(SourceSettings(path=str(path), form="pair_messages"),), max_bad_fraction=0.5)
    loaded = load_preferences(data, seed=0, quarantine=tmp_path / "bad.jsonl")
    assert [(entry["line"], entry["reason"]) for entry in entries(tmp_path / "bad.jsonl")] == [(2, reason)]
    assert [record.source.line for record in loaded.train] == [1, 3]


@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        (lambda packed: packed[:-60], "the gzip is cut"),
        (lambda packed: packed[:-8] + bytes([packed[-8] ^ 255]) + packed[-7:], "checksum"),
        (lambda packed: packed + b"rubbish", "rubbish"),
    ],
)
def test_a_damaged_gzip_stops_the_stage_by_itself_and_is_told_with_its_line(
    spoil: Callable[[bytes], bytes], lost: str, tmp_path: Path
) -> None:
    lines = [_good(number) for number in range(60)]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(spoil(gzip.compress(b"".join(line + b"\n" for line in lines), 1)))
    with pytest.raises(DataError, match=rf"rows\.jsonl\.gz:\d+: .*{lost.split()[-1]}.*: fetch the file again"):
        load(path, tmp_path / "bad.jsonl", max_bad_fraction=1.0)
    (rest,) = entries(tmp_path / "bad.jsonl")
    assert lost.split()[-1] in json.dumps(rest)
    assert rest["line"] == 61 or ("cut" in lost and rest["line"] > 40)


ROWS = [_good(number) for number in range(300)]
CSV = [b"question,answer", *(b"question %d,answer %d" % (n, n) for n in range(300))]
# file -> its bytes with a fault after which nothing can be read, the fault's line, and what is said
LOST = {
    "two arrays": ("rows.json", b"[" + b",\n".join(ROWS[:100]) + b"]\n[" + b",\n".join(ROWS[100:]) + b"]", 101),
    "rubbish after an array": ("rows.json", b"[" + b",\n".join(ROWS) + b"]\n}", 301),
    "a broken element": ("rows.json", b"[" + b",\n".join([*ROWS[:200], b'{"a": }', *ROWS[200:]]) + b"]", 201),
    "a cut array": ("rows.json", b"[" + b",\n".join(ROWS), 300),
    "a quote never closed": ("rows.csv", b"\n".join([*CSV[:200], b'"question,answer', *CSV[200:]]), 201),
    "a quote closed late": ("rows.csv", b"\n".join([*CSV[:9], b'"a', *CSV[1:] * 4, b'b",c', b"d,e"]), 10),
    "an array of a wrong checksum": (
        "rows.json.gz",
        (packed := gzip.compress(b"[" + b",\n".join(ROWS) + b"]"))[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
        300,
    ),
    "a cut gzip": ("rows.csv.gz", gzip.compress(b"\n".join(CSV))[:-9], None),
    "a cut text": ("rows.txt.gz", gzip.compress(b"\n".join(CSV))[:-9], None),
}


@pytest.mark.parametrize("fault", LOST)
def test_a_fault_after_which_rows_are_lost_stops_the_stage_whatever_is_allowed(fault: str, tmp_path: Path) -> None:
    name, data, line = LOST[fault]
    (tmp_path / name).write_bytes(data)
    source = SourceSettings(path=str(tmp_path / name), max_bad_fraction=1.0)
    load_kind = load_documents if "txt" in name else load_dialogues
    place = rf"{name.replace('.', '[.]')}:{line or '[0-9]+'}: .*; nobody can say how many rows are lost with it: \w+"
    with pytest.raises(DataError, match=place):
        load_kind(DataSettings(train=(source,)), seed=0, quarantine=tmp_path / "bad.jsonl")
    assert line in (entries(tmp_path / "bad.jsonl")[-1]["line"], None)


def _parquet(path: Path, columns: dict[str, list[Any]], group: int = 2) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=group, compression="none", use_dictionary=False)


TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def _talk(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"answer {number}"}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "a field is null"),
        ([], "a dialogue without turns"),
        ([{"role": "user", "content": None}], "a missing field"),
    ],
)
def test_a_bad_parquet_row_is_told_with_its_row_and_group(bad: Any, reason: str, tmp_path: Path) -> None:
    _parquet(tmp_path / "rows.parquet", {"messages": [_talk(0), _talk(1), bad, _talk(3)], "more": [1, 2, 3, 4]})
    data = load(tmp_path / "rows.parquet", tmp_path / "bad.jsonl", max_bad_fraction=0.5)
    assert [dialogue.source.line for dialogue in data.train] == [1, 2, 4]
    (entry,) = entries(tmp_path / "bad.jsonl")
    assert (entry["line"], entry["reason"], entry["place"]) == (3, reason, "row group 2, row 1")


@pytest.mark.parametrize(
    "columns", [{"messages": [1, 2, 3]}, {"other": ["a", "b", "c"]}], ids=["wrong type", "missing"]
)
def test_a_parquet_file_of_other_columns_is_refused(columns: dict[str, list[Any]], tmp_path: Path) -> None:
    _parquet(tmp_path / "rows.parquet", columns)
    with pytest.raises(DataError, match=r"rows\.parquet"):
        load(tmp_path / "rows.parquet")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1"], ids=["empty", "magic", "no footer"])
def test_a_file_that_is_no_parquet_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"rows\.parquet"):
        load(tmp_path / "rows.parquet")


def test_a_parquet_file_without_rows_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"messages": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows\.parquet"):
        load(tmp_path / "rows.parquet")
