"""What a reward model brings to the report: accuracy by grade and source, score gaps, safety figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Section
from alignment.report.table import Interval, Table
from alignment.train.report import curves, data_tables, figures


def section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of one reward model, from its folder and its result."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    accuracy, gaps = evaluation["accuracy"], evaluation["mean_gap"]
    blocks: list[Block] = []
    if accuracy:
        rows = tuple(
            (
                _label(group),
                Interval(value=entry["value"], low=entry["low"], high=entry["high"]),
                gaps[group],
                entry["pairs"],
            )
            for group, entry in accuracy.items()
        )
        note = "Held-out pairs; 95 % Wilson intervals; a tie counts half."
        columns = ("pairs", "accuracy", "mean score gap", "number")
        blocks.append(Table(title="Accuracy by grade and source", columns=columns, rows=rows, note=note))
        grades = [(group, entry) for group, entry in accuracy.items() if group.startswith("grade:")]
        blocks.append(
            Figure(
                title="Accuracy by grade",
                kind="bar",
                categories=tuple(_label(group) for group, _ in grades),
                series=(
                    Series(
                        name="accuracy",
                        x=tuple(float(i) for i in range(len(grades))),
                        y=tuple(float(entry["value"]) for _, entry in grades),
                        low=tuple(float(entry["low"]) for _, entry in grades),
                        high=tuple(float(entry["high"]) for _, entry in grades),
                    ),
                ),
                x_label="how much better the chosen answer is",
                y_label="accuracy",
            )
        )
    blocks += _noticed(folder / "noticed.json")
    if evaluation["safety"]:
        items = tuple((name.replace("_", " "), value) for name, value in evaluation["safety"].items())
        blocks.append(Facts(title="Safety labels (unsafe means a score below one half)", items=items))
    blocks.append(Facts(title="Training", items=tuple(figures(result))))
    blocks += curves(folder, (("loss", "ranking loss with margin"), ("accuracy", "accuracy")))
    blocks += data_tables(folder)
    overall = accuracy.get("all")
    summary = f"accuracy {overall['value']:.1%} on {overall['pairs']} held-out pairs" if overall else ""
    title = f"Reward model: {stage.removeprefix('reward-')}"
    return Section(id=stage, title=title, blocks=tuple(blocks), summary=summary)


def _noticed(path: Path) -> list[Block]:
    """How often the right answer scores higher than the same answer with one flaw; on the embedded world only."""
    if not path.exists():
        return []
    rows = tuple(
        (entry["flaw"], Interval(**entry["share"]), entry["prompts"])
        for entry in json.loads(path.read_text(encoding="utf-8"))
    )
    note = (
        "A plain right answer to a held-out question against the same with one flaw (courteous: with a courtesy, which "
        "the gold judge likes better). One half means that the model does not see the difference; what it does not "
        "see, RLHF cannot teach."
    )
    columns = ("flaw", "the right answer scores higher", "prompts")
    return [Table(title="What the model notices", columns=columns, rows=rows, note=note)]


def _label(group: str) -> str:
    kind, _, name = group.partition(":")
    return {"all": "all", "grade": name, "source": f"from {name}"}[kind]
