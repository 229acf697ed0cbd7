"""What pretraining and fine-tuning bring to the report: loss curves, throughput, data and held-out figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.errors import CheckpointError
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Section
from alignment.report.table import Cell, Table
from alignment.store.journal import read_journal

_TITLES = {"pretrain": "Pretraining", "sft": "Supervised fine-tuning", "tokenizer": "Tokenizer"}


def section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of a pretraining or SFT stage, from its folder and its result."""
    blocks: list[Block] = [Facts(title="Figures", items=tuple(figures(result)))]
    blocks += curves(folder)
    blocks += data_tables(folder)
    loss = result.get("perplexity")
    summary = f"held-out perplexity {loss:.2f}" if isinstance(loss, float) else ""
    return Section(id=stage, title=_TITLES.get(stage, stage), blocks=tuple(blocks), summary=summary)


def tokenizer_section(result: Mapping[str, Any]) -> Section:
    """The tokenizer's section."""
    return Section(
        id="tokenizer",
        title=_TITLES["tokenizer"],
        blocks=(Facts(title="Figures", items=tuple(figures(result))),),
        summary=f"{result.get('vocab_size', 0)} pieces",
    )


def figures(result: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """The plain figures of a stage's result, names made readable."""
    return [
        (name.replace("_", " "), value)
        for name, value in result.items()
        if isinstance(value, (int, float, str)) and name != "sha256"
    ]


def curves(folder: Path, names: tuple[tuple[str, str], ...] = (("loss", "loss, nats per token"),)) -> list[Block]:
    """One line figure for each named metric that `metrics.jsonl` holds, with its held-out points."""
    rows = read_journal(folder / "metrics.jsonl")
    blocks: list[Block] = []
    for name, label in names:
        series = [
            Series(
                name=title,
                x=tuple(_number(row, "step", folder) for row in found),
                y=tuple(_number(row, key, folder) for row in found),
            )
            for key, title in ((name, "training"), (f"held_out_{name}", "held out"))
            if (found := [row for row in rows if key in row])
        ]
        if series:
            blocks.append(Figure(title=label, kind="line", series=tuple(series), x_label="step", y_label=label))
    return blocks


def data_tables(folder: Path) -> list[Block]:
    """Rows read, kept and set aside, source by source."""
    path = folder / "data.json"
    if not path.exists():
        return []
    reports = json.loads(path.read_text(encoding="utf-8"))
    rows: list[tuple[Cell, ...]] = []
    totals: list[tuple[Cell, ...]] = []
    reasons: list[tuple[Cell, ...]] = []
    for part, report in reports.items():
        for source in report["sources"]:
            bad = sum(source["quarantined"].values())
            row = (
                part,
                source["name"],
                source["part"],
                source["read"],
                source["records"],
                bad,
                sum(source["skipped"].values()),
            )
            rows.append(row)
            reasons += [(source["name"], reason, count) for reason, count in source["quarantined"].items()]
        # what is said of the split is not there in runs of 0.1.0
        reasons += [(part, reason, count) for reason, count in report.get("set_aside", {}).items()]
        kept = report["held_out"], report.get("test", 0), report.get("apart", 0)
        repeats = report["overlap"] + report.get("repeated", 0)
        totals.append((part, report["train"], *kept, report["duplicates"], repeats))
    columns = ("set", "source", "part", "rows read", "records", "quarantined", "skipped")
    blocks: list[Block] = [
        Table(title="Data, source by source", columns=columns, rows=tuple(rows)),
        Table(
            title="Data after cleaning",
            columns=(
                "set",
                "train",
                "held out",
                "test",
                "kept apart",
                "duplicates dropped",
                "held-out repeats dropped",
            ),
            rows=tuple(totals),
            note="Kept apart: prompts that other stages measure themselves by, so that no stage trains on them.",
        ),
    ]
    if reasons:
        note = "Each row set aside stands in the stage's quarantine file with file, line and reason."
        heads = ("source", "reason", "rows")
        blocks.append(Table(title="Rows set aside", columns=heads, rows=tuple(reasons), note=note))
    return blocks


def _number(row: Mapping[str, Any], key: str, folder: Path) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"{folder / 'metrics.jsonl'}: {key} is {value!r} in a row; a number is needed")
    return float(value)
