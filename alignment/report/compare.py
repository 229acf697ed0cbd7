"""Two or more finished runs side by side, from their `report.json` alone.

Shared tables come together row by row: one column a run for each figure, and the difference of each
later run to the first.  A section that a run has not got says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.errors import DataError, UsageError
from alignment.report.as_json import from_json
from alignment.report.blocks import Block, Facts, Paragraph, Report, Section
from alignment.report.table import Cell, Table, is_number, midpoint


def compare(reports: Sequence[tuple[str, Mapping[str, Any]]], *, allow_different_judges: bool = False) -> Report:
    """Put runs side by side.

    Args:
        reports: each run's name and its parsed `report.json`, the one to compare with first.
        allow_different_judges: compare figures of different judges all the same; the page says so.

    Raises:
        UsageError: fewer than two runs, two of one name, different judges, or a file that is no report.
    """
    names = [name for name, _ in reports]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"a comparison needs two or more runs of different names; it got {', '.join(names) or 'none'}")
    runs = [(name, _read(name, value)) for name, value in reports]
    judges = {name: str(dict(report.facts).get("judge", "none named")) for name, report in runs}
    if len(set(judges.values())) > 1 and not allow_different_judges:
        told = "; ".join(f"{name}: {judge}" for name, judge in judges.items())
        raise UsageError(f"the runs were judged by different judges ({told}); their figures cannot be compared")
    order = list(dict.fromkeys(section.id for _, report in runs for section in report.sections))
    sections = [_overview(runs, judges)]
    sections += [_section(identifier, runs) for identifier in order if identifier != "reproduce"]
    return Report(
        title=f"Comparison: {' · '.join(names)}",
        subtitle=f"Differences are to {names[0]}.",
        sections=tuple(section for section in sections if section.blocks or section.status == "missing"),
        facts=(("judge", " / ".join(dict.fromkeys(judges.values()))),),
        created=max(report.created for _, report in runs),
    )


def _read(name: str, value: Any) -> Report:
    try:
        return from_json(value, f"the report.json of {name}")
    except DataError as error:
        raise UsageError(f"{error}; `align report` of that run writes it anew") from error


def _overview(runs: Sequence[tuple[str, Report]], judges: Mapping[str, str]) -> Section:
    headlines = Table(
        title="Headline figures",
        columns=("figure", *_columns([name for name, _ in runs])),
        rows=tuple(_facts_rows([dict(report.cards()) for _, report in runs])),
    )
    blocks: list[Block] = [headlines] if headlines.rows else []
    if len(set(judges.values())) > 1:
        blocks.append(Paragraph(text="The runs were judged by different judges: their figures do not compare."))
    blocks.append(Facts(title="Judges", items=tuple(judges.items())))
    return Section(id="comparison", title="At a glance", blocks=tuple(blocks))


def _section(identifier: str, runs: Sequence[tuple[str, Report]]) -> Section:
    found = [(name, section) for name, report in runs for section in report.sections if section.id == identifier]
    absent = [
        name for name, report in runs if not any(s.id == identifier and s.status == "finished" for s in report.sections)
    ]
    title = found[0][1].title
    if absent:
        return Section(id=identifier, title=title, summary=f"Not finished in: {', '.join(absent)}.", status="missing")
    names = [name for name, _ in found]
    blocks: list[Block] = []
    for block in found[0][1].blocks:
        if not isinstance(block, (Table, Facts)):
            continue
        others = [
            next((b for b in s.blocks if type(b) is type(block) and b.title == block.title), None) for _, s in found
        ]
        if any(other is None for other in others):
            blocks.append(Paragraph(text=f"“{block.title}” stands in some of the runs only."))
        elif isinstance(block, Facts):
            rows = _facts_rows([dict(other.items) for other in others if isinstance(other, Facts)])
            if rows:
                blocks.append(Table(title=block.title, columns=("figure", *_columns(names)), rows=tuple(rows)))
        else:
            blocks += _tables([other for other in others if isinstance(other, Table)], names)
    return Section(id=identifier, title=title, blocks=tuple(blocks))


def _tables(tables: Sequence[Table], names: Sequence[str]) -> list[Block]:
    """One small table a numeric column, so that no table is wider than a page."""
    first = tables[0]
    row_names = _row_names(tables)
    made: list[Block] = []
    for at, column in enumerate(first.columns):
        if at == 0 or not any(is_number(row[at]) for row in first.rows):
            continue
        by_row = [
            dict(zip(names_of_rows, (row[table.columns.index(column)] for row in table.rows), strict=True))
            if column in table.columns
            else {}
            for table, names_of_rows in zip(tables, row_names, strict=True)
        ]
        keys = list(dict.fromkeys(key for rows in by_row for key in rows))
        rows = tuple((key, *_cells([rows.get(key) for rows in by_row])) for key in keys)
        title = f"{first.title}: {column}"
        made.append(Table(title=title, columns=(first.columns[0], *_columns(names)), rows=rows, note=first.note))
    return made


def _row_names(tables: Sequence[Table]) -> list[list[str]]:
    """What each row is matched by: its first cell, with the texts after it where that names several rows."""
    width = 1
    while width < min(len(table.columns) for table in tables):
        firsts = [[row[:width] for row in table.rows] for table in tables]
        beside = all(not is_number(row[width]) for table in tables for row in table.rows)
        if all(len(set(rows)) == len(rows) for rows in firsts) or not beside:
            break
        width += 1
    named = [[" · ".join(str(cell) for cell in row[:width]) for row in table.rows] for table in tables]
    # Rows that even so have one name are told apart by their place among their like.
    return [
        [f"{name} ({n})" if (n := rows[: at + 1].count(name)) > 1 else name for at, name in enumerate(rows)]
        for rows in named
    ]


def _facts_rows(facts: Sequence[Mapping[str, Cell]]) -> list[tuple[Cell, ...]]:
    keys = list(dict.fromkeys(key for items in facts for key in items))
    return [(key, *_cells([items.get(key) for items in facts])) for key in keys]


def _columns(names: Sequence[str]) -> list[str]:
    return [*names, *(f"{name} - {names[0]}" for name in names[1:])]


def _cells(cells: Sequence[Cell]) -> list[Cell]:
    """Each run's cell, then the differences to the first where both are figures."""
    base = midpoint(cells[0])
    differences: list[Cell] = []
    for cell in cells[1:]:
        here = midpoint(cell)
        differences.append(None if here is None or base is None else here - base)
    return [*cells, *differences]
