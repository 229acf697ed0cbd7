"""Where a policy in training has learnt to please what rewards it rather than to be better.  Pure; no torch.

The held-out reward stands beside the watch model, which rewards nothing; finished versions are in `hacked_versions.py`.
Sources: Gao, Schulman & Hilton 2023, figure 1 (the proxy's score rises on while the gold score falls); Llama 2 paper,
3.4.1 (a more general reward model watches for divergence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STANDARD_ERRORS = 2.0  # a fall of so many is told: about a 95 % interval, as everywhere on the page


@dataclass(frozen=True, kw_only=True)
class Parting:
    """From here to the end the held-out reward is above what it was at the watch model's best, the watch model below.

    Attributes:
        iteration: the first evaluation of which that is true.
        best: the iteration at which the watch model was at its best.
        reward: at `iteration` less at `best`; above 0.
        watch: likewise; below -2 `error`.
        error: standard error of `watch`, prompt by prompt.
    """

    iteration: int
    best: int
    reward: float
    watch: float
    error: float


def parting(course: Sequence[Mapping[str, Any]]) -> Parting | None:
    """Where training reward and watch model part, if they do.

    The rule: at an evaluation they are apart if, on the same held-out prompts and against the evaluation at which the
    watch model was at its best, the reward is higher and the watch model's score has fallen by more than twice the
    standard error of its paired difference.  They part at the first evaluation from which on they are apart to the end:
    what comes together again was noise.

    Args:
        course: the held-out evaluations as `HeldOut.as_json` gives them, the start first.

    Returns:
        None where they do not part, there is no watch model, or the evaluations say nothing of its error.
    """
    if not course or any(entry.get("watch") is None for entry in course):
        return None
    at = max(range(len(course)), key=lambda i: (course[i]["watch"], -i))  # the first of equals
    first = len(course)
    while first - 1 > at and _apart(course[first - 1], course[at]):
        first -= 1
    if first == len(course):
        return None
    best, here = course[at], course[first]
    return Parting(
        iteration=int(here["iteration"]),
        best=int(best["iteration"]),
        reward=here["reward"] - best["reward"],
        watch=here["watch"] - best["watch"],
        error=here["watch_error"],
    )


def _apart(entry: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    error = entry.get("watch_error")
    fall = best["watch"] - entry["watch"]
    return error is not None and entry["reward"] > best["reward"] and fall > STANDARD_ERRORS * error


def paired_error(now: Sequence[float | None] | None, before: Sequence[float | None] | None) -> float | None:
    """Standard error of the mean of now less before, over the prompts that both have a score of.

    Returns:
        None of fewer than two such prompts.
    """
    if now is None or before is None:
        return None
    differences = [a - b for a, b in zip(now, before, strict=True) if a is not None and b is not None]
    if len(differences) < 2:
        return None
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def parting_sentence(found: Mapping[str, Any], *, compares: bool = False) -> str:
    """A parting in a sentence.

    Args:
        found: as `asdict` of a `Parting` gives it.
        compares: an outside model watched, whose figure is the share of comparisons won.
    """
    watch = "the outside watch model's share of comparisons won" if compares else "the watch model's score"
    return (
        f"reward and watch model part at iteration {found['iteration']:,}: since iteration {found['best']:,} the "
        f"held-out reward rose by {found['reward']:.2f} while {watch} fell by {-found['watch']:.2f} (standard error "
        f"{found['error']:.2f}), a sign that the policy learnt to please the reward models"
    )
