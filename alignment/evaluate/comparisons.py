"""Versions against each other: win rates and one ranking a judge, from the scored answers.  No torch.

Llama 2 paper, 3.4: answers of two models to the same prompts, win / tie / loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from alignment.evaluate.winrate import ranking, win_rate
from alignment.judging import Judge


def compare_versions(
    rows: Sequence[Mapping[str, Any]], order: Sequence[str], judges: Sequence[Judge], *, seed: int
) -> list[dict[str, Any]]:
    """Every two versions compared on the prompts that both answered and the judge scored.

    Args:
        rows: scored answers, as in `answers.jsonl`.
        order: the versions, the earliest first.
        judges: what decides is theirs; those that took no part in training come first.

    Returns:
        By campaign and judge: `figure` that decides, `ranking` ([version, rating], the best first), and
        `win_rates` of the later version against the earlier, with 95 % intervals over prompts.
    """
    found = []
    for campaign in dict.fromkeys(row["campaign"] for row in rows):
        for judge in sorted(judges, key=lambda judge: not judge.independent):
            decision = judge.decides.get(campaign)
            if decision is None:
                continue
            figure = f"{judge.name}.{decision.figure}"
            lists = _scores_of_all([row for row in rows if row["campaign"] == campaign], order, figure)
            if len(lists) < 2:
                continue
            rates = []
            for earlier, later in combinations(lists, 2):
                rate = asdict(win_rate(lists[later], lists[earlier], tie=decision.tie, seed=seed))
                decided = rate["decided"] if rate["wins"] + rate["losses"] else None
                rates.append({"later": later, "earlier": earlier, **rate, "decided": decided})
            found.append(
                {
                    "campaign": campaign,
                    "judge": judge.name,
                    "figure": figure,
                    "prompts": len(next(iter(lists.values()))),
                    "ranking": [[name, rating] for name, rating in ranking(lists, tie=decision.tie).items()],
                    "win_rates": rates,
                }
            )
    return found


def _scores_of_all(rows: Sequence[Mapping[str, Any]], order: Sequence[str], figure: str) -> dict[str, list[float]]:
    """Version -> its scores on the prompts that every version has a score of; empty if there are none."""
    by_version: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if figure in row["scores"]:
            by_version[row["version"]][row["prompt"]] = row["scores"][figure]
    names = [name for name in order if name in by_version]
    prompts = sorted(set.intersection(*(set(by_version[name]) for name in names))) if names else []
    return {name: [by_version[name][prompt] for prompt in prompts] for name in names} if prompts else {}
