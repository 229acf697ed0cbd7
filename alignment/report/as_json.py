"""The JSON twin: every number in full, beside it the text that the other twins show for it.

`{"schema": "alignment-report", "version": 1, …}`; `from_json` reads it back, so that finished
runs are compared by their report alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alignment.errors import DataError, UsageError
from alignment.report import digits
from alignment.report.blocks import (
    Block,
    Code,
    Exchange,
    Facts,
    MaskedText,
    Paragraph,
    Report,
    Section,
    SideBySide,
)
from alignment.report.figure_data import figure_table
from alignment.report.series import Figure, Series
from alignment.report.table import Cell, Interval, Table

SCHEMA, VERSION = "alignment-report", 1
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values without NaN; `id` is a digest of all the rest."""
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "title": report.title,
        "subtitle": report.subtitle,
        "created": report.created,
        "headline": _items(report.headline),
        "facts": _items(report.facts),
        "lineage": [list(edge) for edge in report.lineage],
        "sections": [
            {
                "id": section.id,
                "title": section.title,
                "status": section.status,
                "summary": section.summary,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in report.sections
        ],
    }
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
        return Report(
            title=_text(value["title"]),
            subtitle=_text(value["subtitle"]),
            created=_text(value["created"]),
            headline=_read_items(value["headline"]),
            facts=_read_items(value["facts"]),
            lineage=tuple((_text(parent), _text(child)) for parent, child in value["lineage"]),
            sections=tuple(
                Section(
                    id=_text(section["id"]),
                    title=_text(section["title"]),
                    status=_text(section["status"]),
                    summary=_text(section["summary"]),
                    blocks=tuple(_READ[block["type"]](block) for block in section["blocks"]),
                )
                for section in value["sections"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise DataError(f"{name} is a damaged report: {type(error).__name__}: {error}") from error


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Table():
            return {"type": "table", **_table(block)}
        case Figure():
            return {
                "type": "figure",
                "title": block.title,
                "kind": block.kind,
                "x_label": block.x_label,
                "y_label": block.y_label,
                "y_scale": block.y_scale,
                "categories": list(block.categories),
                "note": block.note,
                "series": [
                    {"name": s.name, "x": _run(s.x), "y": _run(s.y), "low": _run(s.low), "high": _run(s.high)}
                    for s in block.series
                ],
                "shown": _table(figure_table(block)),
            }
        case SideBySide():
            return {
                "type": "side_by_side",
                "title": block.title,
                "prompt": [{"role": turn.role, "text": turn.text} for turn in block.prompt],
                "answers": [
                    {"version": version, "answer": answer, "parts": _items(tuple(parts.items()))}
                    for version, answer, parts in block.answers
                ],
            }
        case MaskedText():
            tokens = [[piece, bool(trained)] for piece, trained in block.tokens]
            counts = {"num_tokens": len(tokens), "num_trained": block.num_trained}
            return {"type": "masked_text", "title": block.title, "tokens": tokens, **counts}
        case Facts():
            return {"type": "facts", "title": block.title, "items": _items(block.items)}
        case Code():
            return {"type": "code", "title": block.title, "text": block.text}
        case Paragraph():
            return {"type": "paragraph", "text": block.text}
    raise UsageError(f"a section holds a {type(block).__name__}, which is not a block of a report")


def _table(table: Table) -> dict[str, Any]:
    shown = [digits.show_column(column) for column in zip(*table.rows, strict=True)]
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [[_cell(cell) for cell in row] for row in table.rows],
        "shown": [list(row) for row in zip(*shown, strict=True)],
        "note": table.note,
    }


def _items(items: Sequence[tuple[str, Cell]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _cell(cell), "shown": digits.show(cell)} for key, cell in items]


def _cell(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return {"value": _cell(cell.value), "low": _cell(cell.low), "high": _cell(cell.high)}
    if isinstance(cell, float) and not math.isfinite(cell):
        return {"float": str(cell)}
    return cell


def _run(values: Sequence[float] | None) -> list[Any] | None:
    return None if values is None else [_cell(value) for value in values]


# ---------------------------------------------------------------- reading back


def _read_cell(value: Any) -> Cell:
    if isinstance(value, Mapping):
        if "float" in value:
            return _NON_FINITE[value["float"]]
        ends = {name: _read_cell(value[name]) for name in ("value", "low", "high")}
        return Interval(**{name: _number(end) for name, end in ends.items()})
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise TypeError(f"a cell cannot be a {type(value).__name__}")
    return value


def _number(cell: Any) -> float:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        raise TypeError(f"a number was expected, not {cell!r}")
    return float(cell)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {value!r}")
    return value


def _read_run(values: Any) -> tuple[float, ...]:
    return tuple(_number(_read_cell(value)) for value in values)


def _read_ends(values: Any) -> tuple[float, ...] | None:
    return None if values is None else _read_run(values)


def _read_items(items: Any) -> tuple[tuple[str, Cell], ...]:
    return tuple((_text(item["key"]), _read_cell(item["value"])) for item in items)


def _read_table(block: Any) -> Table:
    return Table(
        title=_text(block["title"]),
        columns=tuple(_text(column) for column in block["columns"]),
        rows=tuple(tuple(_read_cell(cell) for cell in row) for row in block["rows"]),
        note=_text(block["note"]),
    )


def _read_figure(block: Any) -> Figure:
    return Figure(
        title=_text(block["title"]),
        kind=block["kind"],
        x_label=_text(block["x_label"]),
        y_label=_text(block["y_label"]),
        y_scale=block["y_scale"],
        categories=tuple(_text(name) for name in block["categories"]),
        note=_text(block["note"]),
        series=tuple(
            Series(
                name=_text(s["name"]),
                x=_read_run(s["x"]),
                y=_read_run(s["y"]),
                low=_read_ends(s["low"]),
                high=_read_ends(s["high"]),
            )
            for s in block["series"]
        ),
    )


def _read_side_by_side(block: Any) -> SideBySide:
    return SideBySide(
        title=_text(block["title"]),
        prompt=tuple(Exchange(role=_text(turn["role"]), text=_text(turn["text"])) for turn in block["prompt"]),
        answers=tuple(
            (
                _text(answer["version"]),
                _text(answer["answer"]),
                {key: _number(value) for key, value in _read_items(answer["parts"])},
            )
            for answer in block["answers"]
        ),
    )


_READ: dict[str, Callable[[Any], Block]] = {
    "table": _read_table,
    "figure": _read_figure,
    "side_by_side": _read_side_by_side,
    "masked_text": lambda block: MaskedText(
        title=_text(block["title"]), tokens=tuple((_text(p), bool(t)) for p, t in block["tokens"])
    ),
    "facts": lambda block: Facts(title=_text(block["title"]), items=_read_items(block["items"])),
    "code": lambda block: Code(title=_text(block["title"]), text=_text(block["text"])),
    "paragraph": lambda block: Paragraph(text=_text(block["text"])),
}
