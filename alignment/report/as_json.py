"""The JSON twin: every number in full, beside it the text that the other twins show for it.

`{"schema": "alignment-report", "version": 2, …}`; `from_json` reads it back, so that finished runs are compared by
their report alone.  What JSON cannot hold as it is: `{"float": "nan"}` for what is not finite, `{"key", "value",
"shown"}` for an item, `{"version", "answer", "parts"}` for an answer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alignment.errors import DataError, UsageError
from alignment.report import digits
from alignment.report.blocks import MaskedText, Report, Section, SideBySide
from alignment.report.figure_data import figure_table
from alignment.report.series import Figure
from alignment.report.table import Cell, Table

SCHEMA, VERSION = "alignment-report", 2
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_ITEMS = ("items", "facts", "headline")  # fields of (key, cell)


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values without NaN; `id` is a digest of all the rest.

    Raises:
        UsageError: a section holds what is no block.
    """
    value = {"schema": SCHEMA, "version": VERSION, **_plain(report)}
    value["id"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
    return value


def from_json(value: Any, name: str = "report.json") -> Report:
    """Read a report back.

    Args:
        value: what `to_json` made.
        name: the file, for errors.

    Raises:
        DataError: it is no report, of another version, or a part is not as it should be.
    """
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        raise DataError(f'{name} is not a report: its "schema" is not "{SCHEMA}"')
    if value.get("version") != VERSION:
        raise DataError(
            f"{name} has schema version {value.get('version')!r}; this release reads version {VERSION}: make the "
            f"report again with `align report`"
        )
    try:
        found = _unwrapped(value)
        report = _reader().validate_python(found)
        told = next(_differences(report, found), "")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        was = "" if isinstance(first["input"], dict) else f", not {str(first['input'])[:80]!r}"
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}{was}"
    except UsageError as error:  # what the blocks themselves refuse
        told = str(error)
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # what cannot even be unwrapped
        told = f"{type(error).__name__}: {error}"
    if told:
        raise DataError(f"{name} is a damaged report: {told}")
    return report


# ---------------------------------------------------------------- writing


def _plain(value: Any) -> Any:
    """A report's part as JSON has it: each dataclass its fields, with what is shown for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if not is_dataclass(value):
        return value
    made = {
        field.name: _items(part) if field.name in _ITEMS else _plain(part)
        for field in fields(value)
        for part in [getattr(value, field.name)]
    }
    return made | _beside(value)


def _beside(part: Any) -> dict[str, Any]:
    """What JSON has beside a part's fields, or in place of one."""
    match part:
        case Section():
            odd = [type(block).__name__ for block in (*part.blocks, *part.details) if not hasattr(block, "type")]
            if odd:
                raise UsageError(f"a section holds a {odd[0]}, which is not a block of a report")
        case Table():
            shown = [digits.show_column(column) for column in zip(*part.rows, strict=True)]
            return {"shown": [list(row) for row in zip(*shown, strict=True)]}
        case Figure():
            table = _plain(figure_table(part))
            return {"shown": {key: table[key] for key in table if key != "type"}}
        case SideBySide():
            answers = [
                {"version": version, "answer": answer, "parts": _items(tuple(parts.items()))}
                for version, answer, parts in part.answers
            ]
            return {"answers": answers}
        case MaskedText():
            tokens = [[piece, bool(trained)] for piece, trained in part.tokens]
            return {"tokens": tokens, "num_tokens": len(tokens), "num_trained": part.num_trained}
    return {}


def _items(items: Sequence[tuple[str, Cell]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _plain(cell), "shown": digits.show(cell)} for key, cell in items]


# ---------------------------------------------------------------- reading back


@cache  # made where it is first used: few commands read a report
def _reader() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def _unwrapped(value: Any) -> Any:
    """The values in the form of the dataclasses' fields."""
    if isinstance(value, list):
        return [_unwrapped(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"float"}:
        return _NON_FINITE[value["float"]]
    if value.keys() == {"key", "value", "shown"}:
        return [value["key"], _unwrapped(value["value"])]
    if value.keys() == {"version", "answer", "parts"}:
        return [value["version"], value["answer"], dict(_unwrapped(value["parts"]))]
    return {key: _unwrapped(part) for key, part in value.items()}


def _differences(part: Any, found: Any, where: str = "") -> Iterator[str]:
    """Where what was read is not what stands there: a field left out has got its default, a text became a number."""
    if is_dataclass(part):
        for field in fields(part):
            at = f"{where}.{field.name}".lstrip(".")
            if field.name not in found:
                yield f"{at} is missing"
            else:
                yield from _differences(getattr(part, field.name), found[field.name], at)
    elif isinstance(part, tuple):
        for number, (one, other) in enumerate(zip(part, found, strict=True)):
            yield from _differences(one, other, f"{where}.{number}")
    elif part != found and repr(part) != repr(found):  # NaN is not equal to itself
        yield f"{where} is {found!r}, where {part!r} would be right"
