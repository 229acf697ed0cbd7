"""A file into raw rows by its name's ending: JSON Lines, JSON, CSV, TSV, Parquet and text, each also .gz."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from alignment.data.rows import json_array, parquet, tables
from alignment.data.rows.json_lines import Event, read_json_lines, read_text
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.store.regular import file_kind

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
        facts = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
        raise DataError(f"{path} is {file_kind(facts.st_mode)}; rows are read from a regular file")
    if facts.st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); rows were expected")
    if suffix == ".jsonl":
        return read_json_lines(path, settings)
    if suffix == ".json":
        return json_array.read_json(path, settings)
    if suffix == ".txt":
        return read_text(path, settings)
    if suffix == ".parquet":
        return parquet.read_parquet(path, settings)
    return tables.read_csv(path, settings, delimiter="\t" if suffix == ".tsv" else ",")
