"""What the best and the median of N answers are worth, from K that were drawn (Llama 2 paper, 3.2.3, figures 7 and 8).

With more answers the best one rises and the median stays: the gap is what can be gained.  Every figure is a mean over
all ways to draw N of the K, so that no draw's luck is in it, unlike in the first N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from alignment.report.intervals import bootstrap_mean
from rl.rollout import Rollout


def powers(most: int) -> list[int]:
    """1, 2, 4 … and the most."""
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < most]
    return [*counts, most]


def best_by_n(rollouts: Sequence[Rollout], usable: Sequence[Sequence[int]]) -> dict[str, dict[str, float]]:
    """The mean of the best of N over the prompts that have a usable answer, by N; the same prompts for every N."""
    drawn = len(rollouts[0].combined)
    scores = [[rollout.combined[k] for k in places] for rollout, places in zip(rollouts, usable, strict=True) if places]
    if not scores:
        return {}
    return {
        str(n): asdict(bootstrap_mean([expected_best(own, n, drawn=drawn) for own in scores], seed=0))
        for n in powers(drawn)
    }


def median_by_n(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """The median of N answers, usable or not, as a mean over the prompts, by N."""
    return {
        str(n): float(np.mean([expected_median(rollout.combined, n) for rollout in rollouts]))
        for n in powers(len(rollouts[0].combined))
    }


def expected_best(usable: Sequence[float], n: int, *, drawn: int) -> float:
    """The mean of the best usable one of n answers, over all ways to draw n of K that hold a usable one.

    An answer is the best of those draws that hold it and none of the better ones: comb(K - 1 - better, n - 1) of them.
    No draw's luck is in it, unlike in the best of the first n.

    Args:
        usable: scores of the usable ones among the K answers, at least one.
        drawn: K, at least n.
    """
    ordered = sorted(usable, reverse=True)
    draws = [math.comb(drawn - 1 - better, n - 1) for better in range(len(ordered))]
    return math.fsum(score * (count / sum(draws)) for score, count in zip(ordered, draws, strict=True))


def expected_median(scores: Sequence[float], n: int) -> float:
    """The mean of the median of n answers, over all ways to draw n of the K; between the middle two of an even n.

    The answer at place i (from 0) of K in order is the m-th of those draws that hold m - 1 of the i before it and
    n - m of the K - 1 - i after it.

    Args:
        scores: K of them, at least n.
    """
    ordered, ways = sorted(scores), math.comb(len(scores), n)

    def mean_of(m: int) -> float:
        draws = (math.comb(i, m - 1) * math.comb(len(ordered) - 1 - i, n - m) for i in range(len(ordered)))
        return math.fsum(score * (count / ways) for score, count in zip(ordered, draws, strict=True))

    return (mean_of((n + 1) // 2) + mean_of(n // 2 + 1)) / 2
