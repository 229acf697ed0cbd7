"""A .json file into raw rows: an array of objects, an object that holds one, or JSON Lines misnamed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from alignment.data.rows.json_lines import UNREADABLE, WHOLE_GZIP, Event, read_json_lines, row_or_bad
from alignment.data.rows.lines import EXCERPT, Damaged, read_chunks
from alignment.data.rows.quarantine import BadRow
from alignment.data.rows.strict_json import DECODER, BadJson, parse_json
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Source

MAX_JSON_BYTES = 512 << 20  # a .json file is read whole; JSON Lines has no such limit


def read_json(path: Path, settings: SourceSettings) -> Iterator[Event]:
    """A JSON array of objects, an object that holds one (`rows_at`), or JSON Lines under a wrong name.

    Elements are parsed one by one, so that what stands before a fault survives.
    """
    file, size, parts, damage = str(path), 0, [], ""
    try:
        for chunk in read_chunks(path):
            size += len(chunk)
            if size > MAX_JSON_BYTES:
                raise DataError(
                    f"{path} is read whole and holds more than {MAX_JSON_BYTES:,} bytes; JSON Lines streams"
                )
            parts.append(chunk)
    except Damaged as error:
        damage = str(error)
    raw = b"".join(parts)
    parts.clear()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if damage:
            raise DataError(f"{path}:{line}: {UNREADABLE} ({damage}); {WHOLE_GZIP}") from error
        raise DataError(
            f"{path}:{line} is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        ) from error
    del raw
    start = _skip_space(text, 0)
    if text[start : start + 1] == "{" and settings.rows_at is None and _is_json_lines(text, start):
        yield from read_json_lines(path, settings)
        return
    if text[start : start + 1] == "{":
        start = _find_rows(path, text, start, settings.rows_at)
    elif text[start : start + 1] != "[":
        raise DataError(f"{path} begins with {text[start : start + 20]!r}; an array of objects was expected")
    yield from _read_array(file, text, start + 1, settings, damage)


def _read_array(file: str, text: str, at: int, settings: SourceSettings, damage: str) -> Iterator[Event]:
    number, line, counted = 0, 1, 0
    while True:
        at = _skip_space(text, at)
        if number and text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            if damage:
                yield BadRow(file=file, line=line, reason=UNREADABLE, detail=damage, cure=WHOLE_GZIP)
            yield from _after_list(file, text, at + 1, line, number, settings)
            return
        number += 1
        place = f"element {number}"
        head = text[at : at + EXCERPT]
        source = Source(file=file, line=line)
        try:
            value, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            plain = _plain_end(text, at)
            if plain is None:
                detail = damage or (getattr(error, "msg", "") or type(error).__name__)
                yield BadRow(
                    file=file,
                    line=line,
                    place=f"from {place}",
                    reason=UNREADABLE,
                    detail=detail,
                    excerpt=head,
                    cure=WHOLE_GZIP
                    if damage
                    else f"mend {place} there, or save one object per line as .jsonl, where a bad row costs no other",
                )
                return
            # the element is well formed, only not strict (or a number is too long): go on after it
            reason, detail = (error.reason, error.detail) if isinstance(error, BadJson) else ("not JSON", str(error))
            yield BadRow(file=file, line=line, place=place, reason=reason, detail=detail[:EXCERPT], excerpt=head)
            at = plain
            continue
        at = end
        if end - counted > settings.max_row_bytes:
            yield BadRow(file=file, line=line, place=place, reason="the row is too long", excerpt=head)
        else:
            yield row_or_bad(source, value, head=head[: end - counted], place=place)


# the element's end by the letter of JSON alone; of a number nothing but its length is looked at
_LENIENT = json.JSONDecoder(parse_int=len, parse_float=len)


def _plain_end(text: str, at: int) -> int | None:
    try:
        return _LENIENT.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


def _after_list(file: str, text: str, start: int, line: int, number: int, settings: SourceSettings) -> Iterator[BadRow]:
    """Nothing may follow the list but the rest of the objects that it stands in: what follows would be lost."""
    at = start
    try:
        for key in reversed(settings.rows_at.split(".") if settings.rows_at else []):
            at = _end_of_object(text, _skip_space(text, at), key)
        at = _skip_space(text, at)
        if at == len(text):
            return
        detail = f"after element {number}"
    except json.JSONDecodeError as error:
        at, detail = error.pos, error.msg
    except (ValueError, RecursionError) as error:
        detail = str(error)
    yield BadRow(
        file=file,
        line=line + text.count("\n", start, at),
        reason="the file goes on after its list",
        detail=detail,
        excerpt=text[at : at + EXCERPT],
        cure="put all rows into one list, or save one object per line as .jsonl",
    )


def _end_of_object(text: str, at: int, name: str) -> int:
    """Where an object ends whose member `name` ends at a place; a second member of that name is an error."""
    while text[at : at + 1] == ",":
        key, at = _LENIENT.raw_decode(text, _skip_space(text, at + 1))
        if key == name:
            raise json.JSONDecodeError(f"the key {name!r} stands twice", text, at)
        at = _skip_space(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("a ':' is missing", text, at)
        _, at = _LENIENT.raw_decode(text, _skip_space(text, at + 1))
        at = _skip_space(text, at)
    if text[at : at + 1] != "}":
        raise json.JSONDecodeError("the object that holds the list is not closed", text, at)
    return at + 1


_SPACE = re.compile(r"[ \t\r\n]*")


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _is_json_lines(text: str, start: int) -> bool:
    end = text.find("\n", start)
    try:
        parse_json(text[start : end if end >= 0 else len(text)])
    except BadJson:
        return False
    return bool(text[end:].strip()) if end >= 0 else False


def _find_rows(path: Path, text: str, start: int, rows_at: str | None) -> int:
    """Where the list of rows begins inside one object: the place after each key of the dotted path."""
    keys = rows_at.split(".") if rows_at else []
    at = start
    lists: list[str] = []
    for depth, key in enumerate(keys or [""]):
        found = None
        at = _skip_space(text, at + 1)
        try:
            while text[at : at + 1] == '"':
                name, at = DECODER.raw_decode(text, at)
                at = _skip_space(text, _skip_space(text, at) + 1)
                if text[at : at + 1] == "[":
                    lists.append(".".join([*keys[:depth], name]))
                if name == key:
                    found = at
                    break
                _, at = DECODER.raw_decode(text, at)
                at = _skip_space(text, at)
                at = _skip_space(text, at + 1) if text[at : at + 1] == "," else at
        except (ValueError, RecursionError):
            found = None
        if found is None:
            raise DataError(
                f"{path} holds one object, not a list of rows"
                + (f", and nothing at rows_at: {rows_at}" if rows_at else "")
                + (f"; lists stand at {', '.join(lists)}" if lists else "; say where its list is by rows_at")
                + (f", as in rows_at: {lists[0]}" if lists else "")
            )
        at = found
    if text[at : at + 1] != "[":
        raise DataError(f"{path}: rows_at: {rows_at} leads to {text[at : at + 20]!r}; a list of objects was expected")
    return at
