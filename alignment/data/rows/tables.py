"""Tables into raw rows: CSV and TSV (also gzipped), hub data sets; Parquet stands in `parquet.py`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignment.data.rows.json_lines import Event, RawRow, broken_row, too_long_row
from alignment.data.rows.lines import EXCERPT, BlankLines, Broken, read_lines
from alignment.data.rows.quarantine import BadRow
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Source

MOST_LINES = 1000  # of one CSV row: more of them are the rows after a quote that nobody closed
_ESCAPED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is not UTF-8


def read_csv(path: Path, settings: SourceSettings, *, delimiter: str) -> Iterator[Event]:
    """Comma- or tab-separated values with a header line; quoted fields may hold line ends.

    A row that cannot be read counts as many rows as it has lines, since a quote too many swallows whole rows.
    """
    file = str(path)
    csv.field_size_limit(settings.max_row_bytes)
    lines = _CsvLines(path, settings)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        lines.begin_row()
        try:
            fields = next(reader, None)
        except (csv.Error, _OpenQuote) as error:
            yield from lines.take_aside()
            if lines.broken is not None:
                yield broken_row(file, lines.broken)
            elif lines.ended or isinstance(error, _OpenQuote):
                yield lines.open_quote()
            else:
                yield lines.bad("not CSV", str(error))
                continue
            return
        yield from lines.take_aside()
        if fields is None:
            if lines.broken is not None:
                yield broken_row(file, lines.broken)
            return
        if not fields or fields == [""]:
            yield BlankLines(count=1)
            continue
        if header is None:
            header = [name.strip() for name in fields]
            if len(set(header)) != len(header) or not all(header):
                raise DataError(f"{path}:{lines.first}: the header {header} has a column twice or without a name")
            continue
        if lines.spoiled:
            yield lines.bad("the row is too long", lines.spoiled)
        elif len(fields) != len(header):
            yield lines.bad("wrong number of columns", f"{len(fields)}, the header has {len(header)}")
        elif any(_ESCAPED.search(field) for field in fields):
            yield lines.bad("not UTF-8")
        else:
            yield RawRow(
                source=Source(file=file, line=lines.first),
                value=dict(zip(header, fields, strict=True)),
                head=delimiter.join(fields)[:EXCERPT],
            )


class _OpenQuote(Exception):
    """A quoted field runs over more lines than a field has."""


class _CsvLines:
    """The lines of a CSV file as `csv.reader` wants them, and where the row stands that is being read.

    Attributes:
        first, last: the row's lines so far; 0 before its first.
        spoiled: what of the row was left out, "" for nothing.
        broken: the file's rest, if it could not be read.
        ended: whether there are no more lines.
    """

    def __init__(self, path: Path, settings: SourceSettings) -> None:
        self._file, self._settings = str(path), settings
        self._lines = read_lines(path, max_bytes=settings.max_row_bytes, keep_blank=True)
        self._aside: list[Event] = []
        self._head = ""
        self.first = self.last = 0
        self.spoiled = ""
        self.broken: Broken | None = None
        self.ended = False

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            if isinstance(line, BlankLines):
                continue
            if isinstance(line, Broken):
                self.broken = line
                break
            if self.first and line.number - self.first >= MOST_LINES:
                raise _OpenQuote
            self.last = line.number
            if line.data is None:
                if self.first:  # inside a quoted field: without this line the row is another
                    self.spoiled = f"line {line.number} has {line.size:,} bytes"
                else:
                    self._aside.append(too_long_row(self._file, line, self._settings))
                continue
            # surrogateescape marks bytes that are not UTF-8; the row is set aside
            text = line.data.decode("utf-8", "surrogateescape")
            if not self.first:
                self.first, self._head = line.number, text[:EXCERPT]
            return text + "\n"
        self.ended = True
        raise StopIteration

    def begin_row(self) -> None:
        self.first = self.last = 0
        self.spoiled = self._head = ""

    def take_aside(self) -> list[Event]:
        """Lines set aside since the last call."""
        taken, self._aside = self._aside, []
        return taken

    def bad(self, reason: str, detail: str = "", *, cure: str = "") -> BadRow:
        """The row that is being read, as one set aside for each of its lines."""
        return BadRow(
            file=self._file,
            line=self.first,
            reason=reason,
            detail=detail,
            excerpt=self._head.encode("utf-8", "backslashreplace").decode()[:EXCERPT],
            rows=max(self.last - self.first + 1, 1),
            cure=cure,
        )

    def open_quote(self) -> BadRow:
        over = f"over {MOST_LINES:,} lines on" if not self.ended else "at the file's end"
        return self.bad(
            "a quote is not closed",
            f"still open {over}",
            cure="close it, or double it where it belongs to the text; fields of more lines are read from JSON Lines "
            "and Parquet",
        )


def read_hub(settings: SourceSettings) -> Iterator[Event]:
    """The rows of a hub data set through `datasets.load_dataset`.

    Raises:
        DataError: the data set, its configuration or split is not there, or the hub cannot be reached.
    """
    import datasets

    file = settings.label
    try:
        rows: Any = datasets.load_dataset(
            settings.hub, name=settings.subset, split=settings.split, revision=settings.revision
        )
    except Exception as error:  # the library raises many kinds, its own, the hub's and the network's
        raise DataError(
            f"hub data set {settings.hub} (subset {settings.subset}, split {settings.split}, revision "
            f"{settings.revision}) cannot be loaded: {type(error).__name__}: {_first_line(error)}; check the "
            f"names, the network and the access token, or download it and give its files by path"
        ) from error
    for number, value in enumerate(rows, start=1):
        yield RawRow(source=Source(file=file, line=number), value=value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:EXCERPT]
