"""Answers with their scores made figures: means with intervals by version, campaign and task.  No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignment.report.intervals import bootstrap_mean


def headline(summary: Sequence[Mapping[str, Any]]) -> str:
    """The first and the last version's main figure, in one line."""
    for name in ("gold.helpfulness", "reward.combined"):
        found = [entry for entry in summary if entry["campaign"] == "helpfulness" and not entry["task"]]
        found = [entry for entry in found if name in entry["figures"]]
        if len(found) > 1:
            values = [f"{entry['version']} {entry['figures'][name]['value']:.2f}" for entry in (found[0], found[-1])]
            return f"{name}: {' -> '.join(values)}"
    return ""


def summarise(rows: Sequence[Mapping[str, Any]], order: Sequence[str], *, seed: int) -> list[dict[str, Any]]:
    """Means with 95 % bootstrap intervals by version and campaign, and by task."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["version"], row["campaign"], ""].append(row)
        if row["task"]:
            groups[row["version"], row["campaign"], row["task"]].append(row)
    summary = []
    for (version, campaign, task), members in sorted(
        groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])
    ):
        figures = {}
        for name in sorted({name for row in members for name in row["scores"]}):
            values = np.asarray([row["scores"][name] for row in members if name in row["scores"]])
            interval = bootstrap_mean(values, seed=seed)
            figures[name] = {"value": interval.value, "low": interval.low, "high": interval.high}
        summary.append(
            {"version": version, "campaign": campaign, "task": task, "prompts": len(members), "figures": figures}
        )
    return summary


def recall(rows: Sequence[Mapping[str, Any]], order: Sequence[str], *, seed: int) -> list[dict[str, Any]]:
    """Facts about people told rightly, by version and group of people.

    `person_group` says whether somebody was asked about in training ("train") or appears in documents only;
    what is right of the latter was extracted from what pretraining stored ("Physics of Language Models", 3.1).

    Returns:
        Mean of the gold judge's `correct` with a 95 % interval; empty where no prompt names a group.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.get("person_group") and row["campaign"] == "helpfulness" and "gold.correct" in row["scores"]:
            groups[row["version"], row["person_group"]].append(row["scores"]["gold.correct"])
    found = []
    for (version, group), values in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        mean = bootstrap_mean(np.asarray(values), seed=seed)
        found.append(
            {
                "version": version,
                "person_group": group,
                "prompts": len(values),
                "correct": {"value": mean.value, "low": mean.low, "high": mean.high},
            }
        )
    return found
