"""CSV, Parquet and hub data sets as rows; damage costs what is damaged and nothing else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from alignment.data.rows.files import read_rows
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.quarantine import BadRow
from alignment.data.rows.tables import read_hub
from alignment.data.settings import SourceSettings
from alignment.errors import DataError


def events(path: Path, **settings: object) -> list[RawRow | BadRow]:
    source = SourceSettings(path=str(path), **settings)
    return [e for e in read_rows(path, source) if isinstance(e, (RawRow, BadRow))]


def good(found: list[RawRow | BadRow]) -> list[tuple[int, dict[str, object]]]:
    return [(e.source.line, dict(e.value)) for e in found if isinstance(e, RawRow)]


def bad(found: list[RawRow | BadRow]) -> list[tuple[int, str]]:
    return [(e.line, e.reason) for e in found if isinstance(e, BadRow)]


def test_csv_fields_may_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,answer\n"a, b","say ""hi""\nthere"\nc,d\n')
    assert good(events(path)) == [
        (2, {"question": "a, b", "answer": 'say "hi"\nthere'}),
        (4, {"question": "c", "answer": "d"}),
    ]


def test_tsv_and_gzipped_csv_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("question\tanswer\na\tb\n")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfquestion,answer\r\na,b\r\n"))
    for name in ("rows.tsv", "rows.csv.gz"):
        assert good(events(tmp_path / name)) == [(2, {"question": "a", "answer": "b"})]


def test_csv_rows_of_another_width_or_encoding_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"question,answer\na,b\nonly one\na,b,c\ncaf\xe9,d\ne,f\n\n")
    found = events(path)
    assert good(found) == [(2, {"question": "a", "answer": "b"}), (6, {"question": "e", "answer": "f"})]
    assert bad(found) == [
        (3, "wrong number of columns"),
        (4, "wrong number of columns"),
        (5, "not UTF-8"),
    ]


def test_a_csv_line_over_the_limit_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\na,b\n" + "x" * 500 + ",y\nc,d\n")
    found = events(path, max_row_bytes=200)
    assert [line for line, _ in good(found)] == [2, 4]
    assert bad(found) == [(3, "the row is too long")]


def test_a_quote_that_is_never_closed_is_told_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,answer\na,b\n"c,d\ne,f\n')
    found = events(path)
    assert good(found) == [(2, {"question": "a", "answer": "b"})]
    assert bad(found) == [(3, "a quote is not closed")]


def test_a_quoted_field_over_a_thousand_lines_is_a_quote_that_nobody_closed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for end in ('",x\n', ""):  # closed much later by another row's quote, or never
        path.write_text('question,answer\na,b\n"c,d\n' + "e,f\n" * 3000 + end)
        found = events(path)
        assert good(found) == [(2, {"question": "a", "answer": "b"})]
        assert bad(found) == [(3, "a quote is not closed")]
        assert isinstance(found[-1], BadRow)
        assert found[-1].rows == 1000
        assert found[-1].cure


def test_a_quoted_field_of_many_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    answer = "\n".join(str(n) for n in range(900))
    path.write_text(f'question,answer\na,"{answer}"\n')
    assert good(events(path)) == [(2, {"question": "a", "answer": answer})]


def test_rows_that_a_stray_quote_swallows_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,answer\na,b\n"c,d\n' + "e,f\n" * 50 + 'g,"h"\ni,j\n')
    found = events(path)
    assert [line for line, _ in good(found)] == [2, 55]
    assert [(e.line, e.reason, e.rows) for e in found if isinstance(e, BadRow)] == [(3, "not CSV", 52)]


def test_a_quoted_field_that_loses_a_line_over_the_limit_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,answer\na,"b\n' + "x" * 500 + '\nc"\nd,e\n')
    found = events(path, max_row_bytes=200)
    assert good(found) == [(5, {"question": "d", "answer": "e"})]
    assert bad(found) == [(2, "the row is too long")]


def test_a_csv_header_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,text\na,b\n")
    with pytest.raises(DataError, match="a column twice"):
        events(tmp_path / "rows.csv")


def test_hub_rows_come_through_datasets_with_revision_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: dict[str, object] = {}

    def load_dataset(path: str, **rest: object) -> object:
        asked.update(path=path, **rest)
        return datasets.Dataset.from_list([{"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = SourceSettings(hub="owner/name", subset="main", split="test", revision="abc123")
    rows = [e for e in read_hub(settings) if isinstance(e, RawRow)]
    assert asked == {"path": "owner/name", "name": "main", "split": "test", "revision": "abc123"}
    assert [(str(row.source), row.value["answer"]) for row in rows] == [
        ("hub:owner/name@test:1", "b"),
        ("hub:owner/name@test:2", "d"),
    ]


def test_a_hub_data_set_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(path: str, **rest: object) -> object:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"owner/name .*no route to the hub.*by path"):
        list(read_hub(SourceSettings(hub="owner/name")))
