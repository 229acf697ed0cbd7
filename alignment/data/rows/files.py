"""A file into raw rows by its name's ending: JSON Lines, JSON, CSV, TSV, Parquet and text, each also .gz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alignment.data.rows import json_array, tables
from alignment.data.rows.json_lines import Event, read_json_lines, read_text
from alignment.data.settings import SourceSettings
from alignment.errors import DataError

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv", ".tsv", ".txt")


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is read, without .gz.

    Raises:
        DataError: no reader for it.
    """
    name = path.name.lower().removesuffix(".gz")
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise DataError(f"{path} is of no kind that is read here; right are {', '.join(SUFFIXES)}, each also .gz")


def read_rows(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """The rows of one file.

    Raises:
        DataError: the file is missing, unreadable, empty, or of another kind than its name says.
    """
    suffix = suffix_of(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes); rows were expected")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if suffix == ".jsonl":
        return read_json_lines(path, settings)
    if suffix == ".json":
        return json_array.read_json(path, settings)
    if suffix == ".txt":
        return read_text(path, settings)
    if suffix == ".parquet":
        return tables.read_parquet(path, settings)
    return tables.read_csv(path, settings, delimiter="\t" if suffix == ".tsv" else ",")
