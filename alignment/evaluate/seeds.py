"""One recipe over several seeds: each version's figures, pooled over the runs' prompts.

`python -m alignment.evaluate.seeds RUN RUN …` prints a Markdown table (docs/world.md holds one).  No torch.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignment.errors import UsageError
from alignment.report.intervals import bootstrap_mean

# column -> (campaign, figure, group of people; None: everybody)
COLUMNS: dict[str, tuple[str, str, str | None]] = {
    "gold helpfulness": ("helpfulness", "gold.helpfulness", None),
    "in the asked format": ("helpfulness", "gold.format", None),
    "facts, people asked about": ("helpfulness", "gold.correct", "train"),
    "facts, held-out people": ("helpfulness", "gold.correct", "held out"),
    "gold safety": ("safety", "gold.safety", None),
    "reward (not independent)": ("helpfulness", "reward.combined", None),
}


def read_answers(run: Path) -> list[dict[str, Any]]:
    """The scored answers of a finished run.

    Raises:
        UsageError: the run has no evaluation.
    """
    found = sorted(run.glob("[0-9][0-9]-evaluate/answers.jsonl"))
    if not found:
        raise UsageError(f"{run} holds no evaluation; `align run RECIPE --out {run}` makes one")
    return [json.loads(line) for line in found[0].read_text(encoding="utf-8").splitlines()]


def seeds_table(runs: Sequence[Sequence[dict[str, Any]]]) -> str:
    """A Markdown table, version by version.

    Args:
        runs: each run's scored answers.

    Returns:
        In each cell the mean over all runs' prompts with a 95 % bootstrap interval, and in brackets each run's.
    """
    versions = list(dict.fromkeys(row["version"] for rows in runs for row in rows))
    lines = [f"| version | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for version in versions:
        cells = []
        for campaign, figure, group in COLUMNS.values():
            by_run = [list(_values(rows, version, campaign, figure, group)) for rows in runs]
            cells.append(_cell([values for values in by_run if values]))
        lines.append(f"| {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def win_table(runs: Sequence[Path]) -> str:
    """A Markdown table: the runs' win rates of every version against the first chat model, by judge and campaign."""
    cells: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        path = next(iter(sorted(run.glob("[0-9][0-9]-evaluate/evaluation.json"))))
        for entry in json.loads(path.read_text(encoding="utf-8")).get("comparisons", ()):
            for rate in entry["win_rates"]:
                if rate["earlier"] == "sft":
                    cells[rate["later"]][f"{entry['judge']}, {entry['campaign']}"].append(f"{rate['rate']:.2f}")
    columns = list(dict.fromkeys(column for found in cells.values() for column in found))
    lines = [f"| version against sft | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(', '.join(found[column]) for column in columns)} |" for name, found in cells.items()
    ]
    return "\n".join(lines)


def _values(
    rows: Sequence[dict[str, Any]], version: str, campaign: str, figure: str, group: str | None
) -> Iterator[float]:
    for row in rows:
        if row["version"] != version or row["campaign"] != campaign or figure not in row["scores"]:
            continue
        asked = row.get("person_group", "")
        if group is None or (asked and (asked == group or (group == "held out" and asked != "train"))):
            yield float(row["scores"][figure])


def _cell(by_run: Sequence[Sequence[float]]) -> str:
    if not by_run:
        return "–"
    mean = bootstrap_mean(np.asarray([value for values in by_run for value in values]), seed=0)
    each = ", ".join(f"{np.mean(values):.2f}" for values in by_run)
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}] ({each})"


def main(arguments: Sequence[str]) -> int:
    """Print both tables of the runs that are named."""
    if not arguments:
        print(__doc__)
        return 2
    runs = [Path(argument) for argument in arguments]
    print(seeds_table([read_answers(run) for run in runs]))
    print()
    print(win_table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
