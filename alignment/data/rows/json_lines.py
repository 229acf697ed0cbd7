"""Raw rows, file and line kept, and the readers of JSON Lines and plain text.

A reader gives events in the file's order: `RawRow` (a mapping of columns), `BadRow` (set aside, with the
reason) or `BlankLines`.  It streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.data.rows.lines import EXCERPT, BlankLines, Broken, Line, read_lines
from alignment.data.rows.quarantine import BadRow
from alignment.data.rows.strict_json import BadJson, name_of, parse_json
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRow:
    """One row as the file has it.

    Attributes:
        source: the file and the 1-based line (or row, where the format has no lines).
        value: column -> value.
        place: more about the place, "" where there is no more.
        head: the row's first characters where the reader had them, "" where they must be made.
    """

    source: Source
    value: Mapping[str, Any]
    place: str = ""
    head: str = ""

    def bad(self, reason: str, detail: str = "") -> BadRow:
        """This row as one set aside."""
        head = self.head or json.dumps(dict(self.value), ensure_ascii=False, default=str)
        return BadRow(
            file=self.source.file,
            line=self.source.line,
            place=self.place,
            reason=reason,
            detail=detail[:EXCERPT],
            excerpt=head[:EXCERPT],
        )


Event = RawRow | BadRow | BlankLines
MATCH_SECONDS = 1.0  # of the processor, for one line and one regular expression
UNREADABLE = "the file's rest is unreadable"
WHOLE_GZIP = "fetch the file again, or unpack what there is of it and give that"


def read_json_lines(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """One JSON object a line."""
    file = str(path)
    for line in read_lines(path, max_bytes=settings.max_row_bytes):
        if isinstance(line, BlankLines):
            yield line
        elif isinstance(line, Broken):
            yield broken_row(file, line)
        else:
            yield _parse_line(file, line, settings)


def broken_row(file: str, line: Broken) -> BadRow:
    """The entry for a file's rest that could not be read."""
    return BadRow(
        file=file,
        line=line.number,
        reason=UNREADABLE,
        detail=line.reason,
        excerpt=_show(line.head),
        cure=WHOLE_GZIP,
    )


def too_long_row(file: str, line: Line, settings: SourceSettings) -> BadRow:
    """The entry for a line over the limit."""
    return BadRow(
        file=file,
        line=line.number,
        reason="the row is too long",
        detail=f"{line.size:,} bytes, max_row_bytes is {settings.max_row_bytes:,}",
        excerpt=_show(line.head),
    )


def _parse_line(file: str, line: Line, settings: SourceSettings) -> Event:
    def bad(reason: str, detail: str = "") -> BadRow:
        return BadRow(file=file, line=line.number, reason=reason, detail=detail, excerpt=_show(line.head))

    if line.data is None:
        return too_long_row(file, line, settings)
    if b"\0" in line.data:
        return bad("a NUL byte", f"at byte {line.data.index(0) + 1}")
    try:
        text = line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        return bad("not UTF-8", f"byte {error.start + 1} is 0x{line.data[error.start]:02x}")
    try:
        value = parse_json(text)
    except BadJson as error:
        return bad(error.reason, error.detail)
    return row_or_bad(Source(file=file, line=line.number), value, head=text[:EXCERPT])


def row_or_bad(source: Source, value: Any, *, head: str = "", place: str = "") -> Event:
    """A parsed value as a row, if it is an object with anything in it."""
    row = RawRow(source=source, value=value if isinstance(value, dict) else {}, head=head, place=place)
    if not isinstance(value, dict):
        return row.bad("not a JSON object", f"it is {name_of(value)}")
    return row if value else row.bad("an empty JSON object")


def read_text(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """Plain text as rows {"text": …}: the whole file, or cut at the separator or start lines.

    A row's line is the one on which its document begins.

    Raises:
        DataError: a regular expression takes over a second for one line.
    """
    separates = _whole_line(path, "document_separator", settings.document_separator)
    opens = _whole_line(path, "document_start", settings.document_start)
    file = str(path)
    lines: list[str] = []
    first, size, fault, detail = 1, 0, "", ""
    broken: Broken | None = None

    def finish() -> Iterator[Event]:
        nonlocal lines, size, fault, detail
        text = "\n".join(lines)
        if fault:
            yield BadRow(file=file, line=first, reason=fault, detail=detail, excerpt=text[:EXCERPT])
        elif text.strip():
            yield RawRow(source=Source(file=file, line=first), value={"text": text}, head=text[:EXCERPT])
        elif lines:
            yield BlankLines(count=len(lines))
        lines, size, fault, detail = [], 0, "", ""

    for line in read_lines(path, max_bytes=settings.max_row_bytes, keep_blank=True):
        if isinstance(line, BlankLines):
            continue
        if isinstance(line, Broken):
            broken = line
            break
        if line.data is None:
            fault, detail = fault or "the row is too long", f"line {line.number} has {line.size:,} bytes"
            continue
        try:
            text = line.data.decode("utf-8")
        except UnicodeDecodeError as error:
            fault = fault or "not UTF-8"
            detail = detail or f"line {line.number}, byte 0x{line.data[error.start]:02x}"
            text = line.data.decode("utf-8", "replace")
        if separates(text, line.number):
            yield from finish()
            first = line.number + 1
            continue
        if opens(text, line.number):
            yield from finish()
            first = line.number
        size += line.size + 1
        if size > settings.max_row_bytes:
            fault, detail = fault or "the row is too long", f"max_row_bytes is {settings.max_row_bytes:,}"
            lines = lines[:1]
            continue
        lines.append(text)
    if broken is None:
        yield from finish()
    else:  # the document that it cuts is lost with the rest
        yield broken_row(file, broken)


def _whole_line(path: Path, key: str, pattern: str | None) -> Callable[[str, int], bool]:
    """Whether a line matches a recipe's regular expression as a whole, within a second of the processor's time.

    Of the ways to bound a stranger's expression a limit on time is the one that refuses no harmless one; Python's own
    `re` has none, `regex` (which transformers needs too) has.
    """
    if pattern is None:
        return lambda text, number: False
    import regex

    compiled = regex.compile(pattern)

    def matches(text: str, number: int) -> bool:
        try:
            return compiled.fullmatch(text, timeout=MATCH_SECONDS) is not None
        except TimeoutError:
            raise DataError(
                f"{path}:{number}: {key} {pattern!r} takes over {MATCH_SECONDS:g} s on a line of {len(text):,} "
                f"characters; write it without a repeat inside a repeat and with few '.*'"
            ) from None

    return matches


def _show(head: bytes) -> str:
    return head.decode("utf-8", "backslashreplace")[:EXCERPT]
