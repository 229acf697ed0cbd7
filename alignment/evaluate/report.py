"""What the evaluation brings to the report: every version's figures, and sample dialogues side by side."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.evaluate.summary import headline
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Exchange, Section, SideBySide
from alignment.report.table import Cell, Interval, Table

_HEADLINES = ("gold.helpfulness", "gold.safety", "reward.helpfulness", "reward.safety", "reward.combined")


def section(folder: Path, *, num_examples: int) -> Section:
    """The section of the evaluation stage, from its folder."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    versions = evaluation["versions"]
    whole = [entry for entry in versions if not entry["task"]]
    blocks: list[Block] = []
    for campaign in dict.fromkeys(entry["campaign"] for entry in whole):
        rows = [entry for entry in whole if entry["campaign"] == campaign]
        blocks += _campaign(campaign, rows)
        tasks = [entry for entry in versions if entry["campaign"] == campaign and entry["task"]]
        blocks += _by_task(campaign, tasks)
        blocks += _comparisons([entry for entry in evaluation.get("comparisons", ()) if entry["campaign"] == campaign])
    blocks += _recall(evaluation.get("recall", ()))
    blocks += _examples(folder / "answers.jsonl", num_examples)
    return Section(id="evaluate", title="Versions on held-out prompts", blocks=tuple(blocks), summary=headline(whole))


def _campaign(campaign: str, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    names = [name for name in _HEADLINES if any(name in row["figures"] for row in rows)]
    parts = sorted({name for row in rows for name in row["figures"]} - set(names))
    blocks: list[Block] = []
    for title, columns in ((f"Held-out {campaign} prompts", names), (f"Parts, held-out {campaign} prompts", parts)):
        if columns:
            cells = tuple((row["version"], row["prompts"], *(_cell(row, name) for name in columns)) for row in rows)
            note = (
                "Means with 95 % bootstrap intervals. The gold judge took no part in training; the reward models did."
            )
            blocks.append(Table(title=title, columns=("version", "prompts", *columns), rows=cells, note=note))
    labels = tuple(str(row["version"]) for row in rows)
    for kind in ("gold", "reward"):
        shown = [name for name in names if name.startswith(f"{kind}.")]
        if shown:
            blocks.append(
                Figure(
                    title=f"{kind} judge, held-out {campaign} prompts, version by version",
                    kind="line",
                    categories=labels,
                    series=tuple(_series(name, rows) for name in shown),
                    x_label="version",
                    y_label="mean" if kind == "gold" else "mean score before the sigmoid",
                )
            )
    return blocks


def _by_task(campaign: str, entries: Sequence[Mapping[str, Any]]) -> list[Block]:
    headline = f"gold.{campaign}"
    entries = [entry for entry in entries if headline in entry["figures"]]
    if not entries:
        return []
    tasks = sorted({entry["task"] for entry in entries})
    by_version: dict[str, dict[str, Cell]] = defaultdict(dict)
    for entry in entries:
        by_version[entry["version"]][entry["task"]] = _cell(entry, headline)
    rows = tuple((version, *(cells.get(task) for task in tasks)) for version, cells in by_version.items())
    return [Table(title=f"{headline} by kind of prompt", columns=("version", *tasks), rows=rows)]


def _comparisons(entries: Sequence[Mapping[str, Any]]) -> list[Block]:
    """For each judge the ranking with every version's win rate against the one before it and the first chat model."""
    blocks: list[Block] = []
    for entry in entries:
        rates = {(rate["later"], rate["earlier"]): rate for rate in entry["win_rates"]}
        order = list(dict.fromkeys(name for rate in entry["win_rates"] for name in (rate["earlier"], rate["later"])))
        base = "sft" if "sft" in order else order[0]
        rows = []
        for place, (name, rating) in enumerate(entry["ranking"], start=1):
            at = order.index(name)
            before = rates.get((name, order[at - 1])) if at else None
            rows.append((place, name, round(rating), _rate(rates.get((name, base))), _counts(before), _rate(before)))
        columns = ("place", "version", "rating", f"win rate against {base}", "before it: win / tie / loss", "win rate")
        note = (
            f"{entry['prompts']} prompts, decided by {entry['figure']}; a tie counts half; the rating is on the Elo "
            f"scale with mean 1000, from all pairs."
        )
        blocks.append(
            Table(
                title=f"Who wins, {entry['judge']} judge, held-out {entry['campaign']} prompts",
                columns=columns,
                rows=tuple(rows),
                note=note,
            )
        )
    return blocks


def _rate(rate: Mapping[str, Any] | None) -> Cell:
    return None if rate is None else Interval(value=rate["rate"], low=rate["low"], high=rate["high"])


def _counts(rate: Mapping[str, Any] | None) -> Cell:
    return None if rate is None else f"{rate['wins']} / {rate['ties']} / {rate['losses']}"


_GROUPS = {"train": "asked about in training", "validation": "in documents only", "test": "in documents only"}


def _recall(entries: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not entries:
        return []
    groups = list(dict.fromkeys(entry["person_group"] for entry in entries))
    by_version: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for entry in entries:
        by_version[entry["version"]][entry["person_group"]] = entry
    rows: list[tuple[Cell, ...]] = []
    for version, found in by_version.items():
        cells: list[Cell] = [version]
        for group in groups:
            entry = found.get(group, {})
            cells.append(entry.get("prompts"))
            cells.append(Interval(**entry["correct"]) if entry else None)
        rows.append(tuple(cells))
    columns = ["version"]
    for group in groups:
        columns += [f"prompts ({group})", f"people {_GROUPS.get(group, group)}"]
    note = (
        "The gold judge's `correct` on questions about people. Of people in documents only, no training dialogue says "
        "anything: what is right was extracted from what pretraining stored."
    )
    return [Table(title="Facts told rightly", columns=tuple(columns), rows=tuple(rows), note=note)]


def _examples(path: Path, count: int) -> list[Block]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    by_prompt: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_prompt[row["campaign"], row["prompt"]].append(row)
    keys = sorted(by_prompt, key=lambda key: (key[1], key[0]))
    step = max(1, len(keys) // max(count, 1))
    blocks: list[Block] = []
    for key in keys[::step][:count]:
        answers = by_prompt[key]
        prompt = [Exchange(role="system", text=answers[0]["system"])] if answers[0]["system"] else []
        prompt += [Exchange(role=role, text=text) for role, text in answers[0]["turns"]]
        shown = tuple((row["version"], row["answer"], row["scores"]) for row in answers)
        blocks.append(SideBySide(title=f"{key[0]} prompt {key[1]}", prompt=tuple(prompt), answers=shown))
    return blocks


def _series(name: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    found = [(float(i), row["figures"][name]) for i, row in enumerate(rows) if name in row["figures"]]
    return Series(
        name=name,
        x=tuple(x for x, _ in found),
        y=tuple(float(entry["value"]) for _, entry in found),
        low=tuple(float(entry["low"]) for _, entry in found),
        high=tuple(float(entry["high"]) for _, entry in found),
    )


def _cell(row: Mapping[str, Any], name: str) -> Cell:
    entry = row["figures"].get(name)
    return None if entry is None else Interval(value=entry["value"], low=entry["low"], high=entry["high"])
