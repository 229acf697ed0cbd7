"""The page: one self-contained HTML file without scripts, from `page.html` and `page.css`.

Everything that comes from data passes two gates that no template can forget: `visible` (as the
environment's finalizer) writes hidden characters out, and autoescape is on.  The only text put in
as markup is the SVG that `figure.render_svg` made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alignment.report import digits
from alignment.report.as_json import to_json
from alignment.report.blocks import Block, Code, Facts, MaskedText, Paragraph, Report, Section, SideBySide
from alignment.report.figure import render_svg
from alignment.report.figure_data import figure_table
from alignment.report.lineage import lay_out
from alignment.report.series import Figure
from alignment.report.table import Cell, Interval, Table, is_number, midpoint
from alignment.report.visible import visible

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FOLDED_LINES = 24  # longer code is folded
_OPEN_SAMPLES = 2  # so many dialogues of a section stand open


def to_html(report: Report) -> str:
    """The whole page; the same report gives the same bytes."""
    anchors = _anchors(report.sections)
    figures = iter(range(1_000_000))
    sections = [
        {"anchor": anchors[section.id], "section": section, "groups": _groups(section.blocks, figures)}
        for section in report.sections
    ]
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            policy=CONTENT_SECURITY_POLICY,
            identity=to_json(report)["id"],
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
    samples = 0
    for block in blocks:
        if isinstance(block, Figure):
            view = _figure(block, next(figures))
            if groups and groups[-1]["kind"] == "figures":
                groups[-1]["figures"].append(view)
            else:
                groups.append({"kind": "figures", "figures": [view]})
            continue
        if isinstance(block, SideBySide):
            samples += 1
        groups.append(_view(block, opened=samples <= _OPEN_SAMPLES))
    return groups


def _view(block: Block, *, opened: bool) -> dict[str, Any]:
    match block:
        case Table():
            return {"kind": "table", **_table(block)}
        case SideBySide():
            answers = [
                {"version": version, "answer": answer, "parts": _parts(parts)}
                for version, answer, parts in block.answers
            ]
            return {"kind": "side_by_side", "block": block, "answers": answers, "open": opened}
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
    drawing = Markup(render_svg(figure, prefix=f"f{number}-"))  # the one place where markup comes in
    legend = [] if figure.kind == "heatmap" or len(figure.series) < 2 else [s.name for s in figure.series]
    return {
        "figure": figure,
        "drawing": drawing,
        "legend": legend,
        "data": _table(figure_table(figure)),
        "wide": figure.kind == "heatmap" and bool(figure.series) and len(figure.series[0].y) > 12,
    }


def _table(table: Table) -> dict[str, Any]:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    shown = [digits.show_column(column) for column in columns]
    strips = [_strips(column) for column in columns]
    numeric = [any(map(is_number, column)) for column in columns]
    cells = [
        [{"text": text, "strip": strip, "numeric": right} for text, strip in zip(texts, marks, strict=True)]
        for texts, marks, right in zip(shown, strips, numeric, strict=True)
    ]
    return {
        "table": table,
        "heads": [{"text": text, "numeric": right} for text, right in zip(table.columns, numeric, strict=True)],
        "rows": list(zip(*cells, strict=True)),
    }


def _strips(column: Sequence[Cell]) -> list[str]:
    """For each interval its place on the column's common scale, as CSS percentages; else nothing."""
    intervals = [cell for cell in column if isinstance(cell, Interval)]
    ends = [end for cell in intervals for end in (cell.low, cell.value, cell.high)]
    if len(intervals) < 2 or not all(abs(end) < 1e300 for end in ends) or min(ends) == max(ends):
        return [""] * len(column)
    low, span = min(ends), max(ends) - min(ends)

    def place(value: float) -> str:
        return f"{100 * (value - low) / span:.1f}%"

    return [
        f"--low:{place(cell.low)};--value:{place(cell.value)};--high:{place(cell.high)}"
        if isinstance(cell, Interval)
        else ""
        for cell in column
    ]


def _parts(parts: Mapping[str, float]) -> list[dict[str, Any]]:
    views = []
    for name, value in parts.items():
        size = midpoint(value)
        share = None if size is None or not 0 <= size <= 1 else f"--share:{100 * size:.1f}%"
        views.append({"name": name, "text": digits.show(value), "share": share})
    return views


def _card(key: str, cell: Cell) -> dict[str, str]:
    """An interval's card shows the value large and the interval below it."""
    text = digits.show(cell)
    value, bracket, interval = text.partition(" [") if isinstance(cell, Interval) else (text, "", "")
    return {"key": key, "value": value, "interval": f"[{interval}" if bracket else ""}


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
