"""Records through `records.jsonl`: what comes back is what was written, and damage is told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.data.rows.written import read_records, write_records
from alignment.errors import DataError
from alignment.records import GRADES, Dialogue, Document, LabelledAnswer, Preference, Source, Turn
from alignment.store.sealed import sealed_line

TEXTS = st.text(max_size=12)
SOURCES = st.builds(Source, file=TEXTS, line=st.integers(1, 10**6))
META = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS), max_size=3)
SAFE = st.none() | st.booleans()


def dialogues(ends: str) -> st.SearchStrategy[Dialogue]:
    def turns(contents: list[str]) -> tuple[Turn, ...]:
        roles = ["user", "assistant"] * len(contents)
        every = tuple(Turn(role=role, content=text) for role, text in zip(roles, contents, strict=False))
        return every if every[-1].role == ends else every[:-1]

    return st.builds(
        Dialogue,
        turns=st.lists(TEXTS, min_size=2, max_size=5).map(turns),
        source=SOURCES,
        id=TEXTS,
        system=st.none() | TEXTS,
        meta=META,
    )


RECORDS = st.one_of(
    st.builds(Document, text=TEXTS, source=SOURCES, meta=META, opening=st.none() | TEXTS),
    dialogues("assistant"),
    dialogues("user"),
    st.builds(
        Preference,
        prompt=dialogues("user"),
        chosen=TEXTS,
        rejected=TEXTS,
        source=SOURCES,
        grade=st.none() | st.sampled_from(GRADES),
        chosen_safe=SAFE,
        rejected_safe=SAFE,
        meta=META,
    ),
    st.builds(LabelledAnswer, prompt=dialogues("user"), answer=TEXTS, safe=st.booleans(), source=SOURCES, meta=META),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=8))
def test_records_of_every_type_come_back_equal_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("written") / "records.jsonl"
    assert write_records(path, iter(records)) == len(records)
    assert list(read_records(path)) == records


def document(text: str, **meta: Any) -> Document:
    return Document(text=text, source=Source(file="a.txt", line=1), meta=meta)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_records(tmp_path / "records.jsonl", [document("one"), document("two\u2028half"), document("three")])
    return tmp_path / "records.jsonl"


def test_a_line_says_what_it_holds(path: Path) -> None:
    kinds = [json.loads(line)["record"] for line in path.read_bytes().split(b"\n")[:-1]]
    assert kinds == ["document", "document", "document", "end"]


def test_a_changed_letter_is_told_with_its_line(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"half", b"hall"))
    with pytest.raises(DataError, match=r"records\.jsonl:2 is not as it was written \(its checksum does not fit"):
        list(read_records(path))


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_a_file_cut_between_two_lines_is_no_smaller_data_set(path: Path, keep: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))
    with pytest.raises(DataError, match=f"is cut after {keep} records"):
        list(read_records(path))


def test_a_line_left_out_is_found_by_the_count(path: Path) -> None:
    first, _, third, end = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third + end)
    with pytest.raises(DataError, match="3 records were written, 2 stand before it"):
        list(read_records(path))


def test_what_stands_after_the_end_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match=r"records\.jsonl:5 stands after the line that ends"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"record": "poem", "source": {"file": "a", "line": 1}, "meta": {}}, "record is 'poem'"),
        ({"record": "document", "source": {"file": "a", "line": 1}, "meta": {}}, "text is missing"),
        ({"record": "document", "text": 3, "source": {"file": "a", "line": 1}, "meta": {}}, "text is 3"),
        ({"record": "document", "text": "x", "source": {"file": "a", "line": True}, "meta": {}}, "line is True"),
    ],
)
def test_a_whole_line_that_is_no_record_is_told(tmp_path: Path, line: dict[str, Any], says: str) -> None:
    (tmp_path / "records.jsonl").write_bytes(sealed_line(line))
    with pytest.raises(DataError, match=says):
        list(read_records(tmp_path / "records.jsonl"))


def test_meta_that_json_would_change_is_refused_and_nothing_appears(tmp_path: Path) -> None:
    for value in ((1, 2), {3: "x"}, float("nan")):
        with pytest.raises(ValueError, match=r"meta|JSON"):
            write_records(tmp_path / "records.jsonl", [document("one"), document("two", odd=value)])
    assert list(tmp_path.iterdir()) == []
