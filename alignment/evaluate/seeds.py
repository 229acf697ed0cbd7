"""One recipe over several seeds: each version's figures, pooled over the runs' prompts.

`python -m alignment.evaluate.seeds RUN RUN …` prints a Markdown table (docs/world.md holds one).  No torch.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alignment.errors import UsageError
from alignment.evaluate.result import ANSWERS_FILE, Evaluation, ScoredAnswer, read_answers, read_evaluation
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


def evaluate_folder(run: Path) -> Path:
    """The evaluate stage's folder of a run.

    Raises:
        UsageError: the run has no evaluation.
    """
    found = sorted(run.glob(f"[0-9][0-9]-evaluate/{ANSWERS_FILE}"))
    if not found:
        raise UsageError(f"{run} holds no evaluation; `align run RECIPE --out {run}` makes one")
    return found[0].parent


def seeds_table(runs: Sequence[Sequence[ScoredAnswer]]) -> str:
    """A Markdown table, version by version.

    Args:
        runs: each run's scored answers.

    Returns:
        In each cell the mean over all runs' prompts with a 95 % bootstrap interval, and in brackets each run's.
    """
    versions = list(dict.fromkeys(answer.version for answers in runs for answer in answers))
    lines = [f"| version | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for version in versions:
        cells = []
        for campaign, figure, group in COLUMNS.values():
            by_run = [list(_values(answers, version, campaign, figure, group)) for answers in runs]
            cells.append(_cell([values for values in by_run if values]))
        lines.append(f"| {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def win_table(runs: Sequence[Evaluation]) -> str:
    """A Markdown table: the runs' win rates of every version against the first chat model, by judge and campaign."""
    cells: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for evaluation in runs:
        for found in evaluation.comparisons:
            for rate in found.win_rates:
                if rate.earlier == "sft":
                    cells[rate.later][f"{found.judge}, {found.campaign}"].append(f"{rate.rate:.2f}")
    columns = list(dict.fromkeys(column for found in cells.values() for column in found))
    lines = [f"| version against sft | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(', '.join(found[column]) for column in columns)} |" for name, found in cells.items()
    ]
    return "\n".join(lines)


def _values(
    answers: Sequence[ScoredAnswer], version: str, campaign: str, figure: str, group: str | None
) -> Iterator[float]:
    for answer in answers:
        if answer.version != version or answer.campaign != campaign or figure not in answer.scores:
            continue
        asked = answer.person_group
        if group is None or (asked and (asked == group or (group == "held out" and asked != "train"))):
            yield answer.scores[figure]


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
    folders = [evaluate_folder(Path(argument)) for argument in arguments]
    print(seeds_table([read_answers(folder) for folder in folders]))
    print()
    print(win_table([read_evaluation(folder) for folder in folders]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
