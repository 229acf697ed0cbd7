"""Parquet into raw rows, one row group after the other, within bounds of memory.

Parquet stores a text once and refers to it; written out, a file of a kilobyte can be gigabytes.  So texts are read as
references, each row is measured before it is written out, and a row over the limit never is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignment.data.rows.json_lines import Event, RawRow
from alignment.data.rows.lines import EXCERPT, FREE_EXPANSION, MAX_EXPANSION, Damaged, read_chunks
from alignment.data.rows.quarantine import BadRow
from alignment.data.rows.strict_json import Unreadable
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Source

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile

BATCH_ROWS = 256
WRITTEN_OUT = 32 << 20  # bytes of texts that are written out at a time
_AS_LONG = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY"}  # stored as long as they are
_ITEM = 8  # bytes that a number, a list's place or a reference counts


def read_parquet(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """A Parquet file, one row group after the other; a damaged one is set aside with its rows counted.

    Raises:
        DataError: it is no Parquet file, has a column twice, or unpacks out of all proportion.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = str(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = path
        if path.suffix == ".gz":
            plain = Path(folder) / "rows.parquet"
            _unpack(path, plain)
        try:
            with pq.ParquetFile(plain) as found:
                metadata = found.metadata
                types = {field.name: field.type for field in found.schema_arrow}
                names = found.schema_arrow.names
            table: ParquetFile = pq.ParquetFile(plain, read_dictionary=_texts(metadata))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a whole Parquet file ({_first_line(error)})") from error
        if len(types) != len(names):
            raise DataError(f"{path} has a column twice among {', '.join(names)}; a column has one name")
        with table:
            done = given = 0
            for group in range(metadata.num_row_groups):
                _check_claim(path, metadata, group)
                expected = metadata.row_group(group).num_rows
                taken = 0
                try:
                    for batch in table.iter_batches(BATCH_ROWS, row_groups=[group], use_threads=False):
                        sizes = np.zeros(batch.num_rows, np.int64)
                        for column in batch.columns:
                            sizes = sizes + _row_bytes(column)
                        given += int(np.minimum(sizes, settings.max_row_bytes).sum())
                        _check_proportion(path, given, plain.stat().st_size)
                        for value, size in _values(batch, sizes, types, settings.max_row_bytes):
                            taken += 1
                            place = f"row group {group + 1}, row {taken}"
                            if value is None:
                                yield BadRow(
                                    file=file,
                                    line=done + taken,
                                    place=place,
                                    reason="the row is too long",
                                    detail=f"{size:,} bytes, max_row_bytes is {settings.max_row_bytes:,}",
                                )
                            else:
                                yield RawRow(source=Source(file=file, line=done + taken), value=value, place=place)
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


def _texts(metadata: FileMetaData) -> list[str]:
    """The leaves of texts or bytes that may be larger written out than stored: they are read as references."""
    found = []
    for number in range(metadata.num_columns):
        leaf = metadata.schema.column(number)
        chunks = (metadata.row_group(group).column(number) for group in range(metadata.num_row_groups))
        if leaf.physical_type == "BYTE_ARRAY" and not all(set(chunk.encodings) <= _AS_LONG for chunk in chunks):
            found.append(leaf.path)
    return found


def _check_claim(path: Path, metadata: FileMetaData, group: int) -> None:
    """Refuse a row group that says itself that it unpacks out of all proportion, before it is read."""
    row_group = metadata.row_group(group)
    columns = [row_group.column(number) for number in range(row_group.num_columns)]
    packed = sum(column.total_compressed_size for column in columns)
    unpacked = sum(column.total_uncompressed_size + _ITEM * column.num_values for column in columns)
    _check_proportion(f"{path}, row group {group + 1},", unpacked, packed)


def _check_proportion(what: Path | str, unpacked: int, packed: int) -> None:
    if unpacked > FREE_EXPANSION and unpacked > MAX_EXPANSION * packed:
        raise DataError(
            f"{what} unpacks to more than {MAX_EXPANSION} times its size ({unpacked:,} bytes from {packed:,}), which "
            f"text does not do; save its rows as JSON Lines if it is meant"
        )


def _row_bytes(column: pa.Array) -> Any:
    """What each row of a column holds when it is written out, in bytes: [rows], int64."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        of_value = np.append(_row_bytes(column.dictionary), 0)  # the last one is what null refers to
        return of_value[column.indices.fill_null(len(of_value) - 1).to_numpy(zero_copy_only=False)]
    if pa.types.is_struct(kind):
        return sum(map(_row_bytes, column.flatten()), np.full(len(column), _ITEM))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        until = np.concatenate([[0], np.cumsum(_row_bytes(column.values) + _ITEM)])
        places = until[column.offsets.to_numpy(zero_copy_only=False)]
        return places[1:] - places[:-1] + _ITEM
    if pa.types.is_fixed_size_list(kind):
        inner = column.values.slice(column.offset * kind.list_size, len(column) * kind.list_size)
        return _row_bytes(inner).reshape(len(column), kind.list_size).sum(axis=1) + _ITEM
    try:
        lengths = pc.binary_length(column)
    except pa.ArrowNotImplementedError:  # numbers, times, nothing
        return np.full(len(column), _ITEM)
    return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _values(
    batch: pa.RecordBatch, sizes: Any, types: dict[str, pa.DataType], limit: int
) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Each row's values and bytes, some rows at a time; None for a row over the limit."""
    names = batch.schema.names
    start = 0
    while start < batch.num_rows:
        if sizes[start] > limit:
            yield None, int(sizes[start])
            start += 1
            continue
        end, held = start, 0
        while end < batch.num_rows and sizes[end] <= limit and (end == start or held + sizes[end] <= WRITTEN_OUT):
            held += int(sizes[end])
            end += 1
        columns = [_written_out(batch.column(name).slice(start, end - start), types[name]) for name in names]
        for number, values in enumerate(zip(*columns, strict=True), start=start):
            yield dict(zip(names, values, strict=True)), int(sizes[number])
        start = end


def _written_out(column: pa.Array, kind: pa.DataType) -> list[Any]:
    """A column's values; one that Python cannot hold (a date out of range) is `Unreadable` and costs no other."""
    import pyarrow as pa

    odd = (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError)
    try:
        whole: list[Any] = column.cast(kind).to_pylist()
        return whole
    except odd:
        values: list[Any] = []  # one of them: each on its own
    for scalar in column:
        try:
            values.append(scalar.as_py())
        except odd as error:
            values.append(Unreadable(_first_line(error)))
    return values


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:EXCERPT]
