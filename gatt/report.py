"""What Ghost Attention brings to the report: consistency by turn, before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Exchange, Facts, Section, SideBySide
from alignment.report.table import Interval, Table
from alignment.train.report import curves, data_tables, figures
from gatt.result import TurnShare, last_common_turn


def section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of the GAtt stage, from its folder and its result."""
    found = json.loads((folder / "gatt.json").read_text(encoding="utf-8"))
    blocks: list[Block] = []
    for kind in found["before"]:
        before, after = found["before"][kind]["turns"], found["after"][kind]["turns"]
        title = f"Answers that follow the instruction, by turn ({kind} instructions)"
        blocks.append(
            Figure(
                title=title,
                kind="line",
                series=(_series("before", before), _series("after", after)),
                x_label="turn (the instruction stands only before the first)",
                y_label="share",
            )
        )
        later = {row["turn"]: row for row in after}
        rows = tuple(
            (
                row["turn"],
                _interval(row),
                _interval(later[row["turn"]]) if row["turn"] in later else None,
                row["dialogues"],
            )
            for row in before
        )
        columns = ("turn", "before", "after", "dialogues")
        blocks.append(Table(title=title, columns=columns, rows=rows, note="95 % Wilson intervals."))
    blocks += [_example(found, kind) for kind in found["before"]]
    blocks.append(Facts(title="Synthesis", items=tuple(figures(found["synthesis"]))))
    blocks.append(Facts(title="Fine-tuning", items=tuple(figures(result))))
    blocks += curves(folder)
    blocks += data_tables(folder)
    first, last = found["before"]["seen"]["turns"], found["after"]["seen"]["turns"]
    pair = last_common_turn([TurnShare(**row) for row in first], [TurnShare(**row) for row in last])
    summary = f"at turn {pair[0].turn}: {pair[0].value:.0%} → {pair[1].value:.0%}" if pair else ""
    return Section(id=stage, title="Ghost Attention", blocks=tuple(blocks), summary=summary)


def _series(name: str, rows: list[dict[str, float]]) -> Series:
    return Series(
        name=name,
        x=tuple(float(row["turn"]) for row in rows),
        y=tuple(float(row["value"]) for row in rows),
        low=tuple(float(row["low"]) for row in rows),
        high=tuple(float(row["high"]) for row in rows),
    )


def _interval(row: Mapping[str, float]) -> Interval:
    return Interval(value=row["value"], low=row["low"], high=row["high"])


def _example(found: Mapping[str, Any], kind: str) -> SideBySide:
    """One held-out dialogue, before and after, turn by turn."""
    before, after = found["before"][kind]["examples"][0], found["after"][kind]["examples"][0]
    answers = tuple(
        (
            name,
            "\n".join(f"{i}. {answer}" for i, (_, answer) in enumerate(example["exchanges"], start=1)),
            {f"turn {i}": float(kept) for i, kept in enumerate(example["kept"], start=1)},
        )
        for name, example in (("before", before), ("after", after))
    )
    prompt = [Exchange(role="system", text=before["instruction"])]
    prompt += [Exchange(role="user", text=f"{i}. {user}") for i, (user, _) in enumerate(before["exchanges"], start=1)]
    return SideBySide(title=f"A dialogue ({kind} instruction)", prompt=tuple(prompt), answers=answers)
