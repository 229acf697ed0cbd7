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

# judge -> campaign -> the figure that decides; scores closer than TIE are a tie
DECIDING: Mapping[str, Mapping[str, str]] = {
    "gold": {"helpfulness": "gold.helpfulness", "safety": "gold.helpfulness"},
    "reward": {"helpfulness": "reward.combined", "safety": "reward.combined"},
    "endpoint": {"helpfulness": "endpoint.helpfulness", "safety": "endpoint.helpfulness"},
}
TIE = 0.01


def compare_versions(rows: Sequence[Mapping[str, Any]], order: Sequence[str], *, seed: int) -> list[dict[str, Any]]:
    """Every two versions compared on the prompts that both answered and the judge scored.

    Args:
        rows: scored answers, as in `answers.jsonl`.
        order: the versions, the earliest first.

    Returns:
        By campaign and judge: `figure` that decides, `ranking` ([version, rating], the best first), and
        `win_rates` of the later version against the earlier, with 95 % intervals over prompts.
    """
    scores: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        for judge, deciding in DECIDING.items():
            figure = deciding.get(row["campaign"])
            if figure is not None and figure in row["scores"]:
                scores[row["campaign"], judge][row["version"]][row["prompt"]] = row["scores"][figure]
    found = []
    for (campaign, judge), by_version in scores.items():
        names = [name for name in order if name in by_version]
        if len(names) < 2:
            continue
        prompts = sorted(set.intersection(*(set(by_version[name]) for name in names)))
        if not prompts:
            continue
        lists = {name: [by_version[name][prompt] for prompt in prompts] for name in names}
        rates = []
        for earlier, later in combinations(names, 2):
            rate = asdict(win_rate(lists[later], lists[earlier], tie=TIE, seed=seed))
            decided = rate["wins"] + rate["losses"]
            rates.append({"later": later, "earlier": earlier, **rate, "decided": rate["decided"] if decided else None})
        found.append(
            {
                "campaign": campaign,
                "judge": judge,
                "figure": DECIDING[judge][campaign],
                "prompts": len(prompts),
                "ranking": [[name, rating] for name, rating in ranking(lists, tie=TIE).items()],
                "win_rates": rates,
            }
        )
    return found
