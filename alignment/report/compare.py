"""Two or more finished runs side by side, from their `report.json` and their settings.

Shared tables come together row by row: one column a run for each figure, and the difference of each
later run to the first, but scores of two different judges are not subtracted: the cell says so.  A section that a run
has not got says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.errors import DataError, UsageError
from alignment.report import digits
from alignment.report.as_json import from_json
from alignment.report.blocks import Block, Facts, Paragraph, Report, Section
from alignment.report.table import Cell, Table, is_number, midpoint

REPRODUCE = "reproduce"  # the section of commands and versions
OTHER = "other judge"
_NOTE = f"“{OTHER}”: the runs' scores come from different judges or reward models and are not subtracted."
Run = tuple[str, Report]


def compare(
    reports: Sequence[tuple[str, Mapping[str, Any]]], settings: Sequence[Mapping[str, str]] | None = None
) -> Report:
    """Put runs side by side.

    Args:
        reports: each run's name and its parsed `report.json`, the one to compare with first.
        settings: each run's settings, dotted key -> value as text; None where they are not known.

    Raises:
        UsageError: fewer than two runs, two of one name, or a file that is no report.
    """
    names = [name for name, _ in reports]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"a comparison needs two or more runs of different names; it got {', '.join(names) or 'none'}")
    runs = [(name, _read(name, value)) for name, value in reports]
    order = list(dict.fromkeys(section.id for _, report in runs for section in report.sections))
    sections = [_overview(runs, settings)]
    sections += [_section(identifier, runs) for identifier in order if identifier != REPRODUCE]
    return Report(
        title=f"Comparison: {' · '.join(names)}",
        subtitle=f"Differences are to {names[0]}.",
        sections=tuple(section for section in sections if section.blocks or section.details or section.missing),
        created=max(report.created for _, report in runs),
    )


def _read(name: str, value: Any) -> Report:
    try:
        return from_json(value, f"the report.json of {name}")
    except DataError as error:
        raise UsageError(f"{error}; `align report` of that run writes it anew") from error


def _overview(runs: Sequence[Run], settings: Sequence[Mapping[str, str]] | None) -> Section:
    names = [name for name, _ in runs]
    by = _comparable(runs, runs[0][1].headline_by)
    if len({report.headline_by for _, report in runs}) > 1:
        by = [False] * (len(runs) - 1)
    rows = tuple(_facts_rows([dict(report.cards()) for _, report in runs], by))
    blocks: list[Block] = []
    if rows:
        heads = ("figure", *_columns(names))
        blocks.append(Table(title="Headline figures", columns=heads, rows=rows, note=_note(by)))
    if settings is not None:
        blocks.append(_differing("Settings that differ", "setting", settings, names))
    versions = [_versions(report) for _, report in runs]
    if any(found != versions[0] for found in versions):
        blocks.append(_differing("Versions and machines that differ", "what", versions, names))
    judges = list(dict.fromkeys(name for _, report in runs for name, _ in report.judges))
    if judges:
        told = tuple((judge, *(dict(report.judges).get(judge) for _, report in runs)) for judge in judges)
        blocks.append(Table(title="Judges", columns=("judge", *names), rows=told))
    return Section(id="comparison", title="At a glance", blocks=tuple(blocks))


def _differing(title: str, head: str, values: Sequence[Mapping[str, str]], names: Sequence[str]) -> Block:
    """What is not the same in all runs, one row each."""
    keys = list(dict.fromkeys(key for found in values for key in found))
    rows = tuple(
        (key, *(found.get(key, "–") for found in values))
        for key in keys
        if len({found.get(key) for found in values}) > 1
    )
    if not rows:
        return Paragraph(text="All settings are the same.")
    return Table(title=title, columns=(head, *names), rows=rows)


def _versions(report: Report) -> dict[str, str]:
    """What a run was made with, as its last section says."""
    return {
        key: digits.show(cell)
        for section in report.sections
        if section.id == REPRODUCE
        for block in (*section.blocks, *section.details)
        if isinstance(block, Facts)
        for key, cell in block.items
    }


def _comparable(runs: Sequence[Run], judge: str) -> list[bool]:
    """Of each later run whether this judge is there what it is in the first; nobody's figures always are."""
    first, *later = [dict(report.judges).get(judge) for _, report in runs]
    return [not judge or own == first for own in later]


def _note(comparable: Sequence[bool], note: str = "") -> str:
    return note if all(comparable) else f"{note} {_NOTE}".strip()


def _section(identifier: str, runs: Sequence[Run]) -> Section:
    found = [(name, section) for name, report in runs for section in report.sections if section.id == identifier]
    absent = [
        name for name, report in runs if not any(s.id == identifier and s.status == "finished" for s in report.sections)
    ]
    title = found[0][1].title
    if absent:
        return Section(id=identifier, title=title, summary=f"Not finished in: {', '.join(absent)}.", status="missing")
    names = [name for name, _ in found]
    blocks: list[Block] = []
    for block in _blocks(found[0][1]):
        if not isinstance(block, (Table, Facts)):
            continue
        others = [
            next((b for b in _blocks(s) if type(b) is type(block) and b.title == block.title), None) for _, s in found
        ]
        if any(other is None for other in others):
            blocks.append(Paragraph(text=f"“{block.title}” stands in some of the runs only."))
        elif isinstance(block, Facts):
            by = _comparable(runs, block.scored_by)
            rows = _facts_rows([dict(other.items) for other in others if isinstance(other, Facts)], by)
            if rows:
                heads = ("figure", *_columns(names))
                blocks.append(Table(title=block.title, columns=heads, rows=tuple(rows), note=_note(by)))
        else:
            tables = [other for other in others if isinstance(other, Table)]
            blocks += _tables(tables, names, _comparable(runs, block.scored_by))
    return Section(id=identifier, title=title, details=tuple(blocks))


def _blocks(section: Section) -> list[Block]:
    return [*section.blocks, *section.details]


def _tables(tables: Sequence[Table], names: Sequence[str], by: Sequence[bool]) -> list[Block]:
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
        rows = tuple((key, *_cells([rows.get(key) for rows in by_row], by)) for key in keys)
        title = f"{first.title}: {column}"
        heads = (first.columns[0], *_columns(names))
        made.append(Table(title=title, columns=heads, rows=rows, note=_note(by, first.note)))
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


def _facts_rows(facts: Sequence[Mapping[str, Cell]], by: Sequence[bool]) -> list[tuple[Cell, ...]]:
    keys = list(dict.fromkeys(key for items in facts for key in items))
    return [(key, *_cells([items.get(key) for items in facts], by)) for key in keys]


def _columns(names: Sequence[str]) -> list[str]:
    return [*names, *(f"{name} - {names[0]}" for name in names[1:])]


def _cells(cells: Sequence[Cell], by: Sequence[bool]) -> list[Cell]:
    """Each run's cell, then the differences to the first where both are figures of one judge."""
    base = midpoint(cells[0])
    differences: list[Cell] = []
    for cell, comparable in zip(cells[1:], by, strict=True):
        here = midpoint(cell)
        difference = None if here is None or base is None else here - base
        counted = isinstance(cell, int) and isinstance(cells[0], int)  # a count is nobody's score
        differences.append(OTHER if difference is not None and not comparable and not counted else difference)
    return [*cells, *differences]
