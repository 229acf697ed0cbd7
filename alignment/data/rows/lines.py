"""Bytes of a file, plain or gzipped, as lines of bounded length.

Nothing here holds more than one line: a line over the limit is passed over, a gzip that grows out of
all proportion is refused, and what a damaged gzip still gives is given before the damage is told.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignment.errors import DataError
from alignment.store.regular import open_regular

READ_BYTES = 1 << 18
EXCERPT = 200
# Text rarely compresses better than 50 : 1; deflate's limit is 1032 : 1.
MAX_EXPANSION = 250
FREE_EXPANSION = 64 << 20  # bytes below which the ratio is not looked at


class Damaged(Exception):
    """The rest of a file cannot be read; what came before it was given already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line without its end; `data` is None where it was longer than the limit.

    Attributes:
        number: 1-based.
        size: bytes, the line's end not counted.
        head: the first bytes, for excerpts.
    """

    number: int
    data: bytes | None
    size: int
    head: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BlankLines:
    """A run of lines with nothing in them."""

    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """The file's rest, which could not be read."""

    number: int
    reason: str
    head: bytes


def read_chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked where its name ends in .gz; a byte-order mark is left out.

    Raises:
        Damaged: the gzip is cut, wrong or followed by rubbish (after everything readable was given).
        DataError: the file cannot be opened, is UTF-16 or UTF-32, or unpacks out of all proportion.
    """
    chunks = _gunzip(path) if path.suffix == ".gz" else _plain(path)
    first = True
    for chunk in chunks:
        if first and chunk:
            first = False
            if chunk[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
                raise DataError(f"{path} is UTF-32 (its first bytes are {chunk[:4].hex()}); save it as UTF-8")
            if chunk[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in chunk[:64]:
                raise DataError(f"{path} is UTF-16 (its first bytes are {chunk[:2].hex()}); save it as UTF-8")
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        if chunk:
            yield chunk


def read_lines(path: Path, *, max_bytes: int, keep_blank: bool = False) -> Iterator[Line | BlankLines | Broken]:
    """Lines in order; blank ones are counted in runs, the unreadable rest comes last.

    Args:
        max_bytes: a longer line comes with `data=None`.
        keep_blank: give blank lines as lines (texts need them).
    """
    number, pending, size, head = 1, bytearray(), 0, b""
    chunks = read_chunks(path)
    while True:
        try:
            chunk = next(chunks, None)
        except Damaged as damage:
            yield Broken(number=number, reason=str(damage), head=head or bytes(pending[:EXCERPT]))
            return
        if chunk is None:
            break
        if not size and not keep_blank and not chunk.strip(b"\r\n"):
            count = chunk.count(b"\n")
            number += count
            yield BlankLines(count=count)
            # a CR at the chunk's end belongs to a line end that comes next: nothing to keep
            continue
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            piece = chunk[start:end]
            line, blank = _line(number, pending, size, head, piece, max_bytes)
            if blank and not keep_blank:
                yield BlankLines(count=1)
            else:
                yield line
            number, pending, size, head, start = number + 1, bytearray(), 0, b"", end + 1
        rest = chunk[start:]
        size += len(rest)
        if size > max_bytes + 1:  # one more for a CR
            head = head or bytes((pending + rest)[:EXCERPT])
            pending = bytearray()
        else:
            pending += rest
    if size:
        line, blank = _line(number, pending, size, head, b"", max_bytes)
        if not blank or keep_blank:
            yield line
        else:
            yield BlankLines(count=1)


def _line(number: int, pending: bytearray, size: int, head: bytes, piece: bytes, max_bytes: int) -> tuple[Line, bool]:
    size += len(piece)
    if size > max_bytes + 1:
        return Line(number=number, data=None, size=size, head=head or bytes((pending + piece)[:EXCERPT])), False
    data = bytes(pending + piece) if pending else piece
    data = data.removesuffix(b"\r")
    if len(data) > max_bytes:
        return Line(number=number, data=None, size=len(data), head=data[:EXCERPT]), False
    return Line(number=number, data=data, size=len(data), head=data[:EXCERPT]), not data.strip()


def _plain(path: Path) -> Iterator[bytes]:
    try:
        with open_regular(path) as file:
            while chunk := file.read(READ_BYTES):
                yield chunk
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The sentence for a file that the system will not open or read."""
    what = "is a folder, a file or a glob like 'folder/*.jsonl' is right" if path.is_dir() else "cannot be read"
    return DataError(f"{path} {what} ({error.strerror or error})")


def _gunzip(path: Path) -> Iterator[bytes]:
    """The members' bytes, one member after the other; a member's checksum is compared after its bytes were given."""
    given = 0
    try:
        with open_regular(path) as packed, gzip.GzipFile(fileobj=packed) as file:
            is_gzip = packed.peek(2)[:2] == b"\x1f\x8b"
            # read1, not read: what one step unpacks is given before the next step can fail
            while chunk := file.read1(READ_BYTES):
                given, read = given + len(chunk), packed.tell()
                if given > FREE_EXPANSION and given > MAX_EXPANSION * read:
                    raise DataError(
                        f"{path} unpacks to more than {MAX_EXPANSION} times its size ({given:,} bytes from "
                        f"{read:,} so far), which text does not do; unpack it by hand if it is meant"
                    )
                yield chunk
    except EOFError as error:
        raise Damaged("the gzip is cut: it ends inside its header, its data or its checksum") from error
    except zlib.error as error:
        raise Damaged(f"the gzip is damaged ({error})") from error
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise Damaged(f"the gzip's checksum or header is wrong ({error})") from error
        reason = "rubbish follows the gzip's end" if is_gzip else "it is not a gzip in spite of its name"
        raise Damaged(reason) from error
    except OSError as error:
        raise unreadable(path, error) from error
