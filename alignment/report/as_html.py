"""The page: one self-contained HTML file without scripts, from `page.html` and `page.css`.

Everything that comes from data passes two gates that no template can forget: `visible` (as the
environment's finalizer) writes hidden characters out, and autoescape is on.  The only text put in
as markup is the SVG that `figure.render_svg` made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alignment.report import digits, svg
from alignment.report.as_json import to_json
from alignment.report.blocks import (
    Block,
    Code,
    Facts,
    MaskedText,
    Paragraph,
    Report,
    Section,
    SideBySide,
    TurnByTurn,
)
from alignment.report.figure import DASHES, render_svg
from alignment.report.figure_data import figure_table
from alignment.report.lineage import lay_out
from alignment.report.series import Figure
from alignment.report.table import Cell, Interval, Table, is_number, midpoint
from alignment.report.visible import visible

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FOLDED_LINES = 24  # longer code is folded
_MOST_COLUMNS = 7  # a table of more is set closer, so that it fits the page
_NAMED_DETAILS = 6  # so many of the details behind a section are named while they are folded


def to_html(report: Report) -> str:
    """The whole page; the same report gives the same bytes."""
    anchors = _anchors(report.sections)
    figures = iter(range(1_000_000))
    top = _groups(report.top, figures)
    sections = [
        {
            "anchor": anchors[section.id],
            "section": section,
            "groups": _groups(section.blocks, figures),
            "details": _groups(section.details, figures),
            "names": _names(section.details),
        }
        for section in report.sections
    ]
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            policy=CONTENT_SECURITY_POLICY,
            identity=to_json(report)["id"],
            top=top,
            cards=[_card(key, cell) for key, cell in report.cards()],
            facts=_pairs(report.remaining_facts()),
            graph=_graph(report, anchors) if report.lineage else None,
            sections=sections,
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _anchors(sections: Sequence[Section]) -> dict[str, str]:
    """Section id -> anchor of plain letters, unique on the page."""
    anchors: dict[str, str] = {}
    taken: set[str] = set()
    for section in sections:
        plain = re.sub(r"[^a-z0-9]+", "-", section.id.lower()).strip("-") or "section"
        anchor, number = f"s-{plain}", 2
        while anchor in taken:
            anchor, number = f"s-{plain}-{number}", number + 1
        taken.add(anchor)
        anchors[section.id] = anchor
    return anchors


def _groups(blocks: Sequence[Block], figures: Any) -> list[dict[str, Any]]:
    """Blocks as the template wants them; neighbouring figures share one grid."""
    groups: list[dict[str, Any]] = []
    for block in blocks:
        if isinstance(block, Figure):
            view = _figure(block, next(figures))
            if groups and groups[-1]["kind"] == "figures":
                groups[-1]["figures"].append(view)
            else:
                groups.append({"kind": "figures", "figures": [view]})
            continue
        groups.append(_view(block))
    return groups


def _names(blocks: Sequence[Block]) -> str:
    """What the details behind a section hold, for the line that opens them; a name that several bear stands once."""
    names = list(dict.fromkeys(block.title for block in blocks if not isinstance(block, Paragraph)))
    more = f" · {len(names) - _NAMED_DETAILS} more" if len(names) > _NAMED_DETAILS else ""
    return " · ".join(names[:_NAMED_DETAILS]) + more


def _view(block: Block) -> dict[str, Any]:
    match block:
        case Table():
            return {"kind": "table", **_table(block)}
        case SideBySide():
            remarks = dict(block.remarks)
            answers = [
                {
                    "version": version,
                    "answer": answer if answer.strip() else "",
                    "remark": remarks.get(version, "an empty answer"),
                    "parts": _parts(parts),
                }
                for version, answer, parts in block.answers
            ]
            return {"kind": "side_by_side", "block": block, "answers": answers}
        case TurnByTurn():
            return {"kind": "turn_by_turn", "block": block}
        case MaskedText():
            counts = {"trained": digits.show(block.num_trained), "total": digits.show(len(block.tokens))}
            return {"kind": "masked_text", "block": block, **counts}
        case Facts():
            return {"kind": "facts", "title": block.title, "items": _pairs(block.items)}
        case Code():
            lines = block.text.count("\n") + 1
            return {"kind": "code", "block": block, "folded": lines > _FOLDED_LINES, "lines": digits.show(lines)}
        case Paragraph():
            return {"kind": "paragraph", "text": block.text}
        case _:
            raise TypeError(f"{type(block).__name__} has no view")


def _figure(figure: Figure, number: int) -> dict[str, Any]:
    # the one place where markup comes in; a wide drawing has a narrow one for small screens, or none could read it
    drawing = Markup(render_svg(figure, prefix=f"f{number}-"))
    narrow = Markup(render_svg(replace(figure, wide=False), prefix=f"n{number}-")) if figure.wide else None
    names = [] if figure.kind == "heatmap" or len(figure.series) < 2 else [s.name for s in figure.series]
    dashed = figure.kind in ("line", "points")
    legend = [
        {"name": name, "look": f"hue-{n % svg.NUM_COLOURS} dash-{n % len(DASHES) if dashed else 0}"}
        for n, name in enumerate(names)
    ]
    return {
        "figure": figure,
        "drawing": drawing,
        "narrow": narrow,
        "legend": legend,
        "data": _table(figure_table(figure), bars=False),
        "wide": figure.wide or (figure.kind == "heatmap" and bool(figure.series) and len(figure.series[0].y) > 12),
    }


def _table(table: Table, *, bars: bool = True) -> dict[str, Any]:
    """The table as the template wants it; intervals get bars where there is room."""
    bars = bars and len(table.columns) <= _MOST_COLUMNS
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    shown = [digits.show_column(column) for column in columns]
    strips = [_strips(column) if bars else ([""] * len(column), "") for column in columns]
    numeric = [any(map(is_number, column)) for column in columns]
    cells = [
        [
            {"text": text, "ends": ends, "strip": strip, "numeric": right}
            for (text, ends), strip in zip(map(_apart, column, texts), marks, strict=True)
        ]
        for column, texts, (marks, _), right in zip(columns, shown, strips, numeric, strict=True)
    ]
    heads = zip(table.columns, numeric, strips, strict=True)
    return {
        "table": table,
        "dense": len(table.columns) > _MOST_COLUMNS,
        "heads": [{"text": text, "numeric": right, "scale": scale} for text, right, (_, scale) in heads],
        "rows": list(zip(*cells, strict=True)),
    }


def _apart(cell: Cell, text: str) -> tuple[str, str]:
    """What is shown of a cell, and the ends of its interval, which stand below."""
    if not isinstance(cell, Interval):
        return text, ""
    value, bracket, ends = text.partition(" [")
    return value, f"[{ends}" if bracket else ""


def _strips(column: Sequence[Cell]) -> tuple[list[str], str]:
    """For each interval its place on the column's common scale, as CSS percentages; and that scale's two ends."""
    intervals = [cell for cell in column if isinstance(cell, Interval)]
    ends = [end for cell in intervals for end in (cell.low, cell.value, cell.high)]
    if len(intervals) < 2 or not all(abs(end) < 1e300 for end in ends) or min(ends) == max(ends):
        return [""] * len(column), ""
    low, span = min(ends), max(ends) - min(ends)
    scale = " … ".join(digits.show_column([low, max(ends)]))

    def place(value: float) -> str:
        return f"{100 * (value - low) / span:.1f}%"

    strips = [
        f"--low:{place(cell.low)};--value:{place(cell.value)};--high:{place(cell.high)}"
        if isinstance(cell, Interval)
        else ""
        for cell in column
    ]
    return strips, scale


def _parts(parts: Mapping[str, float]) -> list[dict[str, Any]]:
    views = []
    for name, value in parts.items():
        size = midpoint(value)
        share = None if size is None or not 0 <= size <= 1 else f"--share:{100 * size:.1f}%"
        views.append({"name": name, "text": digits.show(value), "share": share})
    return views


def _card(key: str, cell: Cell) -> dict[str, str]:
    """An interval's card shows the value large and the interval below it."""
    value, ends = _apart(cell, digits.show(cell))
    return {"key": key, "value": value, "interval": ends}


def _pairs(items: Sequence[tuple[str, Cell]]) -> list[tuple[str, str, bool]]:
    return [(key, digits.show(cell), is_number(cell)) for key, cell in items]


def _graph(report: Report, anchors: Mapping[str, str]) -> dict[str, Any]:
    states = {section.id: section.status for section in report.sections}
    graph = lay_out(report.lineage)
    boxes = [
        {"box": box, "anchor": anchors.get(box.name), "missing": states.get(box.name, "finished") == "missing"}
        for box in graph.boxes
    ]
    return {"graph": graph, "boxes": boxes}
