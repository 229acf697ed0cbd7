"""A row's fields by the recipe's column map, checked as they are read.

`Reading` is what one source's rows share while they are read: its settings, the columns seen so far (so
that a map that fits none can be told with the nearest name) and counts of what was passed over.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from alignment.data.rows.strict_json import name_of
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.text.chat import MARKERS

ROWS_SHOWN = 100  # rows whose columns are remembered for messages


class RowFault(ValueError):
    """A row cannot become a record.

    Attributes:
        reason: a few words, the same for all rows of this kind.
        detail: what is particular to this row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason} ({detail})" if detail else reason)


class SkippedRow(Exception):
    """A good row that makes no record (annotators tie, …); counted apart from bad rows."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class _Missing:
    pass


MISSING = _Missing()


class Reading:
    """One source while its rows are read.

    Attributes:
        settings: the source's.
        seed: the run's, for named draws.
        notes: what was passed over inside good rows, by reason.
    """

    def __init__(self, settings: SourceSettings, *, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.notes: Counter[str] = Counter()
        self._seen: dict[str, None] = {}
        self._rows = 0
        self._asked: dict[str, None] = {}  # required fields that some row was asked for
        self._fitted: set[str] = set()

    def see(self, row: Mapping[str, Any]) -> None:
        """Remember a row's columns, for messages."""
        if self._rows < ROWS_SHOWN:
            self._rows += 1
            self._seen.update(dict.fromkeys(str(key) for key in row))

    def value(self, row: Mapping[str, Any], field: str) -> Any:
        """The value of a record's field, MISSING where the row has no such column."""
        column = self.settings.columns.get(field, field)
        value = look_up(row, column)
        if value is not MISSING:
            self._fitted.add(field)
        return value

    def turn_value(self, turn: Mapping[str, Any], field: str, column: str) -> Any:
        """A field inside a list's element (a turn's role, an answer's score), by its column there."""
        value = look_up(turn, column)
        if value is not MISSING:
            self._fitted.add(field)
        return value

    def required(self, row: Mapping[str, Any], field: str) -> Any:
        """The value of a field that must be there and not be null."""
        self._asked[field] = None
        value = self.value(row, field)
        if value is MISSING:
            raise RowFault("a missing field", self._name(field))
        if value is None:
            raise RowFault("a field is null", self._name(field))
        return value

    def message(self, row: Mapping[str, Any], field: str) -> str:
        """A message's text: required, not empty, without control tokens."""
        return check_message(self.required(row, field), self._name(field))

    def optional_message(self, row: Mapping[str, Any], field: str) -> str | None:
        """A message's text where there is one; missing, null and empty are None."""
        value = self.value(row, field)
        if value is MISSING or value is None or value == "":
            return None
        return check_message(value, self._name(field)) if not (isinstance(value, str) and is_blank(value)) else None

    def text(self, row: Mapping[str, Any], field: str) -> str:
        """A text that is no message (a document, an HH transcript): required, not empty."""
        text = check_text(self.required(row, field), self._name(field))
        if is_blank(text):
            raise RowFault("an empty text", self._name(field))
        return text

    def number(self, row: Mapping[str, Any], field: str) -> float:
        """A finite number."""
        return check_number(self.required(row, field), self._name(field))

    def meta(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that ride along."""
        found = {column: look_up(row, column) for column in self.settings.meta}
        for column, value in found.items():
            if value is not MISSING:
                self._fitted.add(f"meta.{column}")
        return {column: _plain(value) for column, value in found.items() if value is not MISSING}

    def misfit(self) -> str | None:
        """What of the column map fitted no row at all, as a clause of an error; None where all did."""
        if not self._rows:
            return None
        wrong = [field for field in self._asked if field not in self._fitted]
        wrong += [field for field in self.settings.columns if field not in self._fitted and field not in wrong]
        clauses = []
        for field in wrong:
            column = self.settings.columns.get(field, field)
            near = nearest(column, self._seen)
            said = f"columns: {{{field}: {column}}}" if field in self.settings.columns else f"field {field!r}"
            clauses.append(
                f"{said} fits no column" + (f"; nearest is {near!r}, as columns: {{{field}: {near}}}" if near else "")
            )
        for column in self.settings.meta:
            if f"meta.{column}" not in self._fitted:
                clauses.append(f"meta column {column!r} fits no column")
        if not clauses:
            return None
        return "; ".join(clauses) + f"; the columns there are: {', '.join(self._seen)}"

    def _name(self, field: str) -> str:
        column = self.settings.columns.get(field, field)
        return field if column == field else f"{field} (column {column})"


def look_up(row: Any, column: str) -> Any:
    """A column by its name, or by a dotted path into nested objects and lists."""
    if isinstance(row, Mapping) and column in row:
        return row[column]
    head, dot, rest = column.partition(".")
    if not dot:
        if isinstance(row, list) and column.isdecimal() and int(column) < len(row):
            return row[int(column)]
        return MISSING
    inner = look_up(row, head)
    return MISSING if inner is MISSING else look_up(inner, rest)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like a name, None where none is like it."""
    choices = list(choices)
    found = difflib.get_close_matches(name.lower(), [choice.lower() for choice in choices], n=1, cutoff=0.5)
    return next(choice for choice in choices if choice.lower() == found[0]) if found else None


def check_text(value: Any, name: str) -> str:
    """A text that UTF-8 can hold, unchanged."""
    if not isinstance(value, str):
        raise RowFault("a field is of the wrong type", f"{name} is {name_of(value)}, a text was expected")
    if "\0" in value:
        raise RowFault("a NUL byte", name)
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowFault("a lone surrogate", f"{name}, character {error.start + 1}") from None
    return value


def check_message(value: Any, name: str) -> str:
    """A message's text: not empty, and without the chat format's control tokens.

    A marker inside a message could end the turn and speak for another role; Meta's reference code
    refuses such dialogues, and so do we (facts §5.6).
    """
    text = check_text(value, name)
    if is_blank(text):
        raise RowFault("an empty message", name)
    for marker in MARKERS:
        if marker in text:
            raise RowFault("a control token in a message", f"{marker} in {name}")
    return text


def check_number(value: Any, name: str) -> float:
    """A finite number; a text that is one counts (CSV has no other)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise RowFault("a field is of the wrong type", f"{name} is {value[:40]!r}, a number was expected") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RowFault("a field is of the wrong type", f"{name} is {name_of(value)}, a number was expected")
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        raise RowFault("a number is too large", name) from None
    if not isfinite(number):
        raise RowFault("a number is not finite", name)
    return number


def check_fields(settings: SourceSettings, fields: Iterable[str], form: str) -> None:
    """Refuse a column map for fields that the form does not have.

    Raises:
        DataError: with the nearest field.
    """
    known = list(fields)
    for field in settings.columns:
        if field not in known and not (form == "two_outputs" and field.startswith("annotator_")):
            near = nearest(field, known)
            raise DataError(
                f"{settings.label}: columns has {field!r}, which form {form} does not read"
                + (f" (nearest is {near!r})" if near else "")
                + f"; its fields are {', '.join(known)}"
            )


def _plain(value: Any) -> Any:
    # Parquet has dates and bytes, `meta` has plain JSON values
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)


# letters and marks that show nothing: fillers, the blank of Braille, the joiner of graphemes, variation selectors
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_UNSEEN_KINDS = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})  # controls, formats (U+200B, U+2060, U+FEFF, …), white space


def is_blank(text: str) -> bool:
    """Whether nobody would see anything of a text."""
    return all(character in _UNSEEN or unicodedata.category(character) in _UNSEEN_KINDS for character in text)
