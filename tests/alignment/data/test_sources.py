"""What a user gets wrong about a source: each error names the place, what it was and what would be right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alignment.data.corpus import load_dialogues, load_documents, load_preferences
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError, TooManyBadRows


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(path: Path | str, load: Any = load_dialogues, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        load(DataSettings(train=(SourceSettings(path=str(path), **settings),)), seed=0, quarantine=None)
    return str(error.value)


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path / "alpaca.jsonl", [{}])
    assert "nearest in that folder is alpaca.jsonl" in refused(tmp_path / "alpacca.jsonl")


def test_a_missing_folder_and_an_empty_glob_say_from_where_they_are_seen(tmp_path: Path) -> None:
    assert "nor its folder" in refused(tmp_path / "none" / "a.jsonl")
    assert str(Path.cwd()) in refused(tmp_path / "*.jsonl")


def test_a_folder_is_told_to_be_a_glob(tmp_path: Path) -> None:
    assert f"{tmp_path}/*.jsonl" in refused(tmp_path)


def test_a_column_map_that_fits_no_column_names_the_columns_and_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"instruction": "a", "response": "b"}] * 3)
    message = refused(path, form="alpaca", columns={"output": "respons"})
    assert "columns: {output: respons} fits no column" in message
    assert "nearest is 'response', as columns: {output: response}" in message
    assert "the columns there are: instruction, response" in message


def test_a_column_that_is_required_and_nowhere_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"instruction": "a", "outputs": "b"}] * 3)
    assert "columns: {output: outputs}" in refused(path, form="alpaca")


def test_an_optional_column_that_is_mapped_to_nothing_is_told_though_every_row_is_good(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "rows.jsonl", [{"question": "a", "answer": "b", "system_prompt": "c"}])
    assert "nearest is 'system_prompt'" in refused(path, columns={"system": "sytem_prompt"})
    assert "meta column 'topic' fits no column" in refused(path, meta=("topic",))


def test_a_field_that_the_form_does_not_have_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"instruction": "a", "output": "b"}])
    assert "nearest is 'output'" in refused(path, form="alpaca", columns={"outputs": "output"})


def test_columns_that_look_like_no_form_are_named(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "rows.jsonl", [{"alpha": 1, "beta": 2}]))
    assert "the columns (alpha, beta) look like no known form" in message


def test_a_form_of_another_kind_than_the_stage_reads_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"text": "a"}])
    assert "form document makes no dialogues" in refused(path)
    assert "form document makes no preferences" in refused(path, load_preferences, form="document")


def test_text_and_tables_are_not_read_as_one_another(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Once.")
    path = write(tmp_path / "rows.jsonl", [{"text": "a"}])
    assert "this file's is text" in refused(tmp_path / "book.txt", load_documents, form="document")
    assert "document (one text per row)" in refused(path, load_documents, form="text")
    assert "as two sources" in refused(tmp_path / "*", load_documents)


def test_a_file_with_only_blank_lines_is_empty(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n\n \n")
    assert "no rows (3 blank lines)" in refused(tmp_path / "rows.jsonl")


def test_a_damaged_file_without_one_readable_row_is_an_error_whatever_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(b'{"question": "a", "answer": "b"}\n')
    message = refused(tmp_path / "rows.jsonl.gz", max_bad_fraction=1.0)
    assert "rows.jsonl.gz:1: the file's rest is unreadable" in message
    assert "not a gzip" in message


def test_rows_that_are_all_skipped_are_told_with_the_reason(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output_1": "x", "output_2": "y", "preferred": 0}] * 2
    assert "2 × tie" in refused(write(tmp_path / "rows.jsonl", rows), load_preferences)


def test_rows_that_are_all_bad_stop_even_a_tolerant_source_at_an_empty_data_set(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"question": "a", "answer": ""}] * 2)
    message = refused(path, max_bad_fraction=1.0)
    assert "no dialogues are left to train on" in message
    assert "2 rows read, 2 set aside" in message


def test_a_wrong_parquet_column_type_is_told_by_the_rows_reasons(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"question": [1, 2], "answer": ["a", None]}), path)
    with pytest.raises(TooManyBadRows, match="question is a number, a text was expected"):
        load_dialogues(DataSettings(train=(SourceSettings(path=str(path)),)), seed=0, quarantine=None)


def test_a_null_list_in_parquet_is_a_bad_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"messages": [turns, None]}), path)
    source = SourceSettings(path=str(path), max_bad_fraction=0.5)
    data = load_dialogues(DataSettings(train=(source,)), seed=0, quarantine=None)
    assert (len(data.train), data.report.sources[0].quarantined) == (1, {"a field is null": 1})


def test_an_empty_parquet_file_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), path)
    assert "holds no rows" in refused(path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "exactly one of world, path, hub and stage"),
        ({"path": "a", "hub": "b"}, "exactly one of world, path, hub and stage"),
        ({"world": "documents", "form": "alpaca"}, "leave form and columns out"),
        ({"stage": "collect-v1", "hub": "a/b"}, "exactly one of world, path, hub and stage"),
        ({"stage": "collect-v1", "form": "alpaca"}, "a stage source is made of records already"),
        ({"stage": "../collect"}, "should match pattern"),
        ({"path": "a", "roles": {"x": "narrator"}}, "right are user, assistant and system"),
        ({"path": "a", "document_start": "("}, "not a regular expression"),
        ({"path": "a", "share": 0}, "greater than 0"),
        ({"path": "a", "shape": 1}, "shape"),
        ({"path": "a", "grades": {"gaps": (2, 1, 3)}}, "gaps must rise"),
        ({"path": "a", "grades": {"words": {"3": "great"}}}, "significantly"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        SourceSettings(**settings)


def test_form_auto_is_not_misled_by_bad_rows_at_the_beginning(tmp_path: Path) -> None:
    rows = [{"text": "stray"}, {"question": "no answer"}] + [{"question": "a", "answer": str(n)} for n in range(8)]
    source = SourceSettings(path=str(write(tmp_path / "rows.jsonl", rows)), max_bad_fraction=0.5)
    data = load_dialogues(DataSettings(train=(source,)), seed=0, quarantine=None)
    assert (data.report.sources[0].form, len(data.train)) == ("question_answer", 8)
