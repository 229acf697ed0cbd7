"""Tables into raw rows: CSV and TSV (also gzipped), Parquet (by row group), hub data sets."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.rows.json_lines import Event, RawRow, broken_row, too_long_row
from alignment.data.rows.lines import EXCERPT, BlankLines, Broken, Damaged, read_chunks, read_lines
from alignment.data.rows.quarantine import BadRow
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Source

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BATCH_ROWS = 256
_ESCAPED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is not UTF-8


def read_csv(path: Path, settings: SourceSettings, *, delimiter: str) -> Iterator[Event]:
    """Comma- or tab-separated values with a header line; quoted fields may hold line ends."""
    file = str(path)
    csv.field_size_limit(settings.max_row_bytes)  # a quote never closed would else swallow the file
    aside: list[Event] = []
    first = 0  # the line on which the row that is being read begins

    def text_lines() -> Iterator[str]:
        nonlocal first
        for line in read_lines(path, max_bytes=settings.max_row_bytes, keep_blank=True):
            if isinstance(line, BlankLines):
                continue
            if isinstance(line, Broken):
                aside.append(broken_row(file, line))
                return
            if line.data is None:
                aside.append(too_long_row(file, line, settings))
                continue
            first = first or line.number
            # surrogateescape marks bytes that are not UTF-8; the row is set aside below
            yield line.data.decode("utf-8", "surrogateescape") + "\n"

    reader = csv.reader(text_lines(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        first = 0
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield BadRow(file=file, line=first, reason="not CSV", detail=str(error))
            continue
        yield from aside
        aside.clear()
        if fields is None:
            return
        if not fields or fields == [""]:
            yield BlankLines(count=1)
            continue
        if header is None:
            header = [name.strip() for name in fields]
            if len(set(header)) != len(header) or not all(header):
                raise DataError(f"{path}:{first}: the header {header} has a column twice or without a name")
            continue
        row = RawRow(
            source=Source(file=file, line=first),
            value=dict(zip(header, fields, strict=False)),
            head=delimiter.join(fields)[:EXCERPT].encode("utf-8", "backslashreplace").decode(),
        )
        if len(fields) != len(header):
            yield row.bad("wrong number of columns", f"{len(fields)}, the header has {len(header)}")
        elif any(_ESCAPED.search(field) for field in fields):
            yield row.bad("not UTF-8")
        else:
            yield row


def read_parquet(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """A Parquet file, one row group after the other; a damaged one is set aside with its rows counted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = str(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = path
        if path.suffix == ".gz":
            plain = Path(folder) / "rows.parquet"
            _unpack(path, plain)
        try:
            table: ParquetFile = pq.ParquetFile(plain)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a whole Parquet file ({_first_line(error)})") from error
        with table:
            done = 0
            for group in range(table.num_row_groups):
                expected = table.metadata.row_group(group).num_rows
                taken = 0
                try:
                    for batch in table.iter_batches(BATCH_ROWS, row_groups=[group], use_threads=False):
                        for value in batch.to_pylist():
                            taken += 1
                            yield RawRow(
                                source=Source(file=file, line=done + taken),
                                value=value,
                                place=f"row group {group + 1}, row {taken}",
                            )
                except (pa.ArrowException, OSError, ValueError) as error:
                    yield BadRow(
                        file=file,
                        line=done + taken + 1,
                        place=f"row group {group + 1}, rows {taken + 1} to {expected}",
                        reason="a damaged Parquet page",
                        detail=_first_line(error),
                        rows=max(expected - taken, 1),
                    )
                done += expected


def _unpack(path: Path, target: Path) -> None:
    try:
        with target.open("wb") as file:
            for chunk in read_chunks(path):
                file.write(chunk)
    except Damaged as error:
        raise DataError(f"{path} cannot be read: {error}; Parquet needs the whole file") from error


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
