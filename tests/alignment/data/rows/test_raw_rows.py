"""The bad-row corpus of JSON Lines: each fault is one entry with its line and reason, its neighbours survive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.data.rows.files import read_rows
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.quarantine import BadRow
from alignment.data.settings import SourceSettings
from alignment.errors import DataError

GOOD = b'{"text": "before"}'
AFTER = b'{"text": "after"}'

BAD_LINES: dict[str, tuple[bytes, str]] = {
    "invalid UTF-8": (b'{"text": "caf\xe9"}', "not UTF-8"),
    "NUL": (b'{"text": "a\0b"}', "a NUL byte"),
    "cut": (b'{"text": "a", "more": "b', "the row is cut"),
    "cut in a list": (b'{"text": ["a", ', "the row is cut"),
    "two objects": (b'{"text": "a"} {"text": "b"}', "more than one value on a line"),
    "array": (b'["a", "b"]', "not a JSON object"),
    "string": (b'"a"', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "empty object": (b"{}", "an empty JSON object"),
    "NaN": (b'{"text": "a", "score": NaN}', "NaN or Infinity, which JSON does not have"),
    "Infinity": (b'{"text": "a", "score": -Infinity}', "NaN or Infinity, which JSON does not have"),
    "duplicate keys": (b'{"text": "a", "text": "b"}', "a key stands twice in one object"),
    "duplicate keys inside": (b'{"text": {"a": 1, "a": 2}}', "a key stands twice in one object"),
    "single quotes": (b"{'text': 'a'}", "not JSON"),
    "trailing comma": (b'{"text": "a",}', "not JSON"),
    "huge integer": (b'{"text": ' + b"9" * 5000 + b"}", "not JSON"),
    "depth of 10,000": (b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deeply"),
    "too long": (b'{"text": "' + b"x" * 60_000 + b'"}', "the row is too long"),
}


def events(path: Path, **settings: object) -> list[RawRow | BadRow]:
    source = SourceSettings(path=str(path), max_row_bytes=50_000, **settings)
    return [e for e in read_rows(path, source) if isinstance(e, (RawRow, BadRow))]


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_set_aside_and_its_neighbours_survive(tmp_path: Path, name: str) -> None:
    line, reason = BAD_LINES[name]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + AFTER + b"\n")
    before, bad, after = events(path)
    assert isinstance(before, RawRow)
    assert isinstance(after, RawRow)
    assert (before.value, after.value) == ({"text": "before"}, {"text": "after"})
    assert (before.source.line, after.source.line) == (1, 3)
    assert isinstance(bad, BadRow)
    assert (bad.file, bad.line, bad.reason) == (str(path), 2, reason)
    assert bad.excerpt == line[:200].decode("utf-8", "backslashreplace")[:200]


def test_a_line_of_fifty_megabytes_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(GOOD + b'\n{"text": "')
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + AFTER)
    before, bad, after = events(path)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (2, "the row is too long")
    assert "50,000,012 bytes" in bad.detail
    assert isinstance(before, RawRow)
    assert isinstance(after, RawRow)


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n   \n" + AFTER)
    assert [(e.source.line, e.value["text"]) for e in events(path) if isinstance(e, RawRow)] == [
        (1, "before"),
        (4, "after"),
    ]


def test_a_json_array_keeps_the_line_of_each_element(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b\nc"}, {"text": "d"}], indent=1))
    assert [(e.source.line, e.value["text"]) for e in events(path) if isinstance(e, RawRow)] == [
        (2, "a"),
        (5, "b\nc"),
        (8, "d"),
    ]


def test_a_bad_element_of_a_json_array_is_set_aside_and_the_rest_survives(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a"},\n{"text": NaN},\n{"text": "b", "text": "c"},\n7,\n{"text": "d"}]')
    found = events(path)
    assert [e.value["text"] for e in found if isinstance(e, RawRow)] == ["a", "d"]
    assert [(e.line, e.place) for e in found if isinstance(e, BadRow)] == [
        (2, "element 2"),
        (3, "element 3"),
        (4, "element 4"),
    ]


def test_the_elements_before_the_cut_of_a_json_array_survive(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a"}, {"text": "b"}, {"text": "c')
    first, second, rest = events(path)
    assert [e.value["text"] for e in (first, second) if isinstance(e, RawRow)] == ["a", "b"]
    assert isinstance(rest, BadRow)
    assert rest.reason == "the file's rest is unreadable"
    assert rest.cure


@pytest.mark.parametrize(
    ("after", "line", "detail"),
    [
        ('\n[{"text": "c"}]', 3, "after element 2"),
        ("\n\nrubbish", 4, "after element 2"),
        ("]", 2, "after element 2"),
    ],
)
def test_what_follows_a_json_array_is_told_with_its_line(tmp_path: Path, after: str, line: int, detail: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a"},\n{"text": "b"}]' + after)
    first, second, rest = events(path)
    assert [e.value["text"] for e in (first, second) if isinstance(e, RawRow)] == ["a", "b"]
    assert isinstance(rest, BadRow)
    assert (rest.line, rest.reason, rest.detail) == (line, "the file goes on after its list", detail)
    assert rest.cure


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('{"rows": [{"text": "a"}], "rows": [{"text": "b"}]}', "the key 'rows' stands twice"),
        ('{"rows": [{"text": "a"}]', "the object that holds the list is not closed"),
        ('{"rows": [{"text": "a"}]} {"rows": []}', "after element 1"),
        ('{"rows": [{"text": "a"}], "n": }', "Expecting value"),
    ],
)
def test_what_follows_the_list_of_rows_at_is_told_too(tmp_path: Path, text: str, detail: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    row, rest = events(path, rows_at="rows")
    assert isinstance(row, RawRow)
    assert isinstance(rest, BadRow)
    assert rest.detail == detail


def test_what_an_object_holds_beside_its_list_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"a": {"rows": [{"text": "a"}], "n": [1, "]"], "m": NaN}, "b": null}\n')
    assert [e.value for e in events(path, rows_at="a.rows") if isinstance(e, RawRow)] == [{"text": "a"}]


def test_a_number_of_thousands_of_digits_in_an_array_costs_its_own_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a"}, {"text": ' + "9" * 5000 + '}, {"text": "b"}]')
    found = events(path)
    assert [e.value["text"] for e in found if isinstance(e, RawRow)] == ["a", "b"]
    assert [(e.place, e.reason) for e in found if isinstance(e, BadRow)] == [("element 2", "not JSON")]


def test_json_lines_under_the_name_json_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(GOOD + b"\n" + AFTER)
    assert [e.value["text"] for e in events(path) if isinstance(e, RawRow)] == ["before", "after"]


def test_rows_at_finds_the_list_inside_an_object(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, "result": {"note": "[", "rows": [{"text": "a"}]}}))
    assert [e.value for e in events(path, rows_at="result.rows") if isinstance(e, RawRow)] == [{"text": "a"}]


def test_an_object_without_rows_at_names_its_lists(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, "examples": [{"text": "a"}]}))
    with pytest.raises(DataError, match="rows_at: examples"):
        events(path)


def test_a_text_file_is_one_document_or_cut_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("I\n\nOnce.\n\nII\n\nThen.\n")

    def cut(**settings: str) -> list[tuple[int, str]]:
        rows = [e for e in events(path, **settings) if isinstance(e, RawRow)]
        return [(row.source.line, row.value["text"]) for row in rows]

    assert cut() == [(1, "I\n\nOnce.\n\nII\n\nThen.")]
    assert cut(document_start="[IVX]+") == [(1, "I\n\nOnce.\n"), (5, "II\n\nThen.")]
    assert cut(document_separator="[IVX]+") == [(2, "\nOnce.\n"), (6, "\nThen.")]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("key", ["document_separator", "document_start"])
def test_a_regular_expression_that_never_ends_is_told_with_its_line(tmp_path: Path, key: str) -> None:
    path = tmp_path / "book.txt"
    path.write_text("I\n" + "a" * 60 + "\n")
    with pytest.raises(DataError, match=rf"book\.txt:2: {key} .* takes over 1 s on a line of 60 characters"):
        events(path, **{key: "(a|a)*[bc]"})


def test_a_text_document_with_a_byte_that_is_not_utf_8_is_set_aside_alone(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(b"one\n---\ntw\xff\n---\nthree\n")
    first, bad, third = events(path, document_separator="---")
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason, bad.detail) == (3, "not UTF-8", "line 3, byte 0xff")
    assert [e.value["text"] for e in (first, third) if isinstance(e, RawRow)] == ["one", "three"]


@pytest.mark.parametrize("name", ["rows.xml", "rows", "rows.jsonl.zip"])
def test_a_file_of_another_kind_is_told_which_kinds_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"\.jsonl, \.json, \.parquet"):
        events(tmp_path / name)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(DataError, match="is empty"):
        events(tmp_path / "rows.jsonl")
