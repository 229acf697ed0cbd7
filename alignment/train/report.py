"""What pretraining and fine-tuning bring to the report: loss curves, throughput, data and held-out figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    loss = result.get("perplexity")
    return Section(
        id=stage,
        title=_TITLES.get(stage, stage),
        blocks=tuple(curves(folder)),
        details=(Facts(title="Figures", items=tuple(figures(result))),),
        summary=f"held-out perplexity {loss:.2f}" if isinstance(loss, float) else "",
    )


def tokenizer_section(result: Mapping[str, Any]) -> Section:
    """The tokenizer's section."""
    return Section(
        id="tokenizer",
        title=_TITLES["tokenizer"],
        details=(Facts(title="Figures", items=tuple(figures(result))),),
        summary=f"{result.get('vocab_size', 0)} pieces",
    )


def figures(result: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """The plain figures of a stage's result, names made readable."""
    return [
        (name.replace("_", " "), value)
        for name, value in result.items()
        if isinstance(value, (int, float, str)) and name != "sha256"
    ]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric of `metrics.jsonl` that is drawn where it was logged.

    Attributes:
        metric: its key.
        label: the figure's title and axis.
        held_out: whether its held-out values (`held_out_METRIC`) are drawn with it.
        note: a sentence under the figure.
    """

    metric: str
    label: str
    held_out: bool = True
    note: str = ""


def curves(folder: Path, drawn: Sequence[Curve] = (Curve(metric="loss", label="loss, nats per token"),)) -> list[Block]:
    """One line figure for each curve whose metric was logged."""
    rows = read_journal(folder / "metrics.jsonl")
    blocks: list[Block] = []
    for curve in drawn:
        keys = [(curve.metric, "training")] + [(f"held_out_{curve.metric}", "held out")] * curve.held_out
        series = [
            Series(
                name=title,
                x=tuple(_number(row, "step", folder) for row in found),
                y=tuple(_number(row, key, folder) for row in found),
            )
            for key, title in keys
            if (found := [row for row in rows if row.get(key) is not None])
        ]
        if series:
            blocks.append(
                Figure(
                    title=curve.label,
                    kind="line",
                    series=tuple(series),
                    x_label="step",
                    y_label=curve.label,
                    note=curve.note,
                )
            )
    return blocks


def data_section(folders: Mapping[str, Path]) -> Section:
    """The data of all stages, each data set once: stages that read the same share its rows.

    Args:
        folders: stage -> its folder, in the order of the run.
    """
    readers: dict[str, list[str]] = {}  # a data set with what was found in it -> the stages that read it
    for stage, folder in folders.items():
        for part, report in _reports(folder).items():
            readers.setdefault(json.dumps([part, _counts(report)], sort_keys=True), []).append(stage)
    rows: list[tuple[Cell, ...]] = []
    totals: list[tuple[Cell, ...]] = []
    mixed: list[tuple[Cell, ...]] = []
    reasons: dict[tuple[str, str, int], None] = {}
    for found, stages in readers.items():
        part, report = json.loads(found)
        read_by = ", ".join(stages)
        for source in report["sources"]:
            bad, skipped = sum(source["quarantined"].values()), sum(source["skipped"].values())
            own = (source["name"], source["part"], source["read"], source["records"], bad, skipped)
            rows.append((part, *own, read_by))
            reasons |= {(source["name"], reason, count): None for reason, count in source["quarantined"].items()}
        reasons |= {(part, reason, count): None for reason, count in report["set_aside"].items()}
        if mixture := report.get("mixture"):
            whole = sum(mixture["own"].values()) + sum(mixture["drawn"].values())
            asked = f"{mixture['share']:.3f} of {mixture['asked']:g} asked"
            for label, count in mixture["own"].items():
                mixed.append((part, label, "own", count, count, count / whole, asked))
            for label, count in mixture["drawn"].items():
                mixed.append((part, label, "mixed in", mixture["available"][label], count, count / whole, asked))
        kept = (report["held_out"], report["test"], report["apart"])
        repeats = report["overlap"] + report["repeated"]
        totals.append((part, report["train"], *kept, report["duplicates"], repeats, read_by))
    details: list[Block] = []
    if rows:
        note = "Kept apart: prompts that other stages measure themselves by, so that no stage trains on them."
        details.append(Table(title="Data after cleaning", columns=_CLEANED, rows=tuple(totals), note=note))
        details.append(Table(title="Data, source by source", columns=_SOURCES, rows=tuple(rows)))
    if mixed:
        note = "All of a set's own records, and others drawn uniformly from what the other sources have together."
        details.append(Table(title="Mixtures as drawn", columns=_MIXED, rows=tuple(mixed), note=note))
    if reasons:
        note = "Each row set aside stands in the stage's quarantine file with file, line and reason."
        heads = ("source", "reason", "rows")
        details.append(Table(title="Rows set aside", columns=heads, rows=tuple(reasons), note=note))
    bad = sum(count for _, _, count in reasons)
    summary = f"{len(totals):,} data sets; {bad:,} rows were set aside" if totals else ""
    return Section(id="data", title="Data", details=tuple(details), summary=summary)


_CLEANED = (
    *("set", "train", "held out", "test", "kept apart"),
    *("duplicates dropped", "held-out repeats dropped", "read by"),
)
_SOURCES = ("set", "source", "part", "rows read", "records", "quarantined", "skipped", "read by")
_MIXED = ("set", "source", "as", "records there", "drawn", "share of the whole", "mixed in, all together")


def _reports(folder: Path) -> Mapping[str, Any]:
    path = folder / "data.json"
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _counts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Of a data report what the page shows; what is said of the split is not there in runs of 0.1.0."""
    own = ("name", "part", "read", "records", "quarantined", "skipped")
    sources = [{key: source[key] for key in own} for source in report["sources"]]
    split = {key: report.get(key, 0) for key in ("test", "apart", "repeated")}
    counts = {key: report[key] for key in ("train", "held_out", "duplicates", "overlap")}
    mixture = {"mixture": report["mixture"]} if report.get("mixture") else {}
    return {"sources": sources, "set_aside": report.get("set_aside", {}), **counts, **split, **mixture}


def _number(row: Mapping[str, Any], key: str, folder: Path) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"{folder / 'metrics.jsonl'}: {key} is {value!r} in a row; a number is needed")
    return float(value)
