"""The Markdown twin: for a pull request, a terminal, a diff.  The same numbers as the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alignment.report import digits
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
from alignment.report.figure_data import figure_table
from alignment.report.series import Figure
from alignment.report.table import Cell, Table, is_number
from alignment.report.visible import visible

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")
_LIST_SIGN = re.compile(r"^(\d*)([-+=.)])(?=\s|=|-|$)")


def to_markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown; texts of models and data cannot become markup."""
    lines = [f"# {_inline(report.title)}", ""]
    if report.subtitle:
        lines += [_inline(report.subtitle), ""]
    for block in report.top:
        lines += [*_block(block), ""]
    items = (*report.headline, *report.facts)
    if items:
        lines += [*_facts(items), ""]
    if report.lineage:
        lines += ["**Lineage**", ""]
        lines += [f"- {_inline(parent)} → {_inline(child)}" for parent, child in report.lineage]
        lines += [""]
    for section in report.sections:
        lines += _section(section)
    stamp = f"Report {to_json(report)['id']}" + (f", made {_inline(report.created)}" if report.created else "")
    return "\n".join([*lines, "---", "", stamp, ""])


def _section(section: Section) -> list[str]:
    state = "" if section.status == "finished" else f" ({_inline(section.status)})"
    lines = [f"## {_inline(section.title)}{state}", ""]
    if section.lead:
        lines += [*_paragraph(section.lead), ""]
    for block in (*section.blocks, *section.details):
        lines += [*_block(block), ""]
    return lines


def _block(block: Block) -> list[str]:
    match block:
        case Table():
            return [f"**{_inline(block.title)}**", "", *_table(block), *_note(block.note)]
        case Figure():
            table = figure_table(block)
            axes = f"{_inline(block.y_label)} over {_inline(block.x_label)}"
            heading = f"**{_inline(block.title)}** (figure: {axes})"
            return [heading, "", *_table(table), *_note(table.note), *_note(block.note)]
        case SideBySide():
            return _side_by_side(block)
        case TurnByTurn():
            return _turn_by_turn(block)
        case MaskedText():
            text = "".join(f"⟦{piece}⟧" if trained else piece for piece, trained in block.runs())
            counts = f"{block.num_trained:,} of {len(block.tokens):,} tokens are trained on, in ⟦ ⟧"
            return [f"**{_inline(block.title)}**: {counts}", "", *_fenced(text)]
        case Facts():
            return [f"**{_inline(block.title)}**", "", *_facts(block.items)]
        case Code():
            return [f"**{_inline(block.title)}**", "", *_fenced(block.text)]
        case Paragraph():
            return _paragraph(block.text)


def _side_by_side(block: SideBySide) -> list[str]:
    lines = [f"**{_inline(block.title)}**", ""]
    for turn in block.prompt:
        lines += [f"*{_inline(turn.role)}*", "", *_fenced(turn.text), ""]
    remarks = dict(block.remarks)
    for version, answer, parts in block.answers:
        judged = ", ".join(f"{_inline(name)} {digits.show(value)}" for name, value in parts.items())
        lines += [f"*{_inline(version)}*" + (f": {judged}" if judged else ""), ""]
        said = remarks.get(version) if not answer.strip() else None
        lines += [_inline(said), ""] if said else [*_fenced(answer), ""]
    return lines[:-1]


def _turn_by_turn(block: TurnByTurn) -> list[str]:
    lines = [f"**{_inline(block.title)}**", "", "*instruction*", "", *_fenced(block.instruction), ""]
    for number, (question, answers) in enumerate(block.turns, start=1):
        lines += [f"*turn {number}: user*", "", *_fenced(question), ""]
        for model, answer, found in answers:
            lines += [f"*{_inline(model)}*" + (f": {_inline(found)}" if found else ""), "", *_fenced(answer), ""]
    return lines[:-1]


def _table(table: Table) -> list[str]:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    shown = [
        [_inline(text) if isinstance(cell, str) else text for cell, text in zip(cells, texts, strict=True)]
        for cells, texts in zip(columns, map(digits.show_column, columns), strict=True)
    ]
    rules = ["---:" if any(map(is_number, cells)) else "---" for cells in columns]
    rows = [[_inline(column) for column in table.columns], rules, *map(list, zip(*shown, strict=True))]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _facts(items: Sequence[tuple[str, Cell]]) -> list[str]:
    rows = [(_inline(key), _inline(cell) if isinstance(cell, str) else digits.show(cell)) for key, cell in items]
    return ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)]


def _note(note: str) -> list[str]:
    return ["", *_paragraph(note)] if note else []


def _paragraph(text: str) -> list[str]:
    return [_inline(line) for line in visible(text).split("\n")]


def _inline(text: str) -> str:
    """Text on one line in which nothing is markup.

    A leading list sign, or number with a dot, would make a list of a paragraph: it is escaped too.
    """
    text = " ".join(visible(text).split("\n")).strip()
    text = _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;")).replace("\\<", "&lt;").replace("\\>", "&gt;")
    return _LIST_SIGN.sub(lambda found: f"{found.group(1)}\\{found.group(2)}", text)


def _fenced(text: str) -> list[str]:
    """A fenced block whose fence is longer than any run of backticks inside."""
    text = visible(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *text.split("\n"), fence]
