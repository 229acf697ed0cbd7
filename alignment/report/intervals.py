"""Intervals of measured figures: the bootstrap for means, Wilson's for proportions.  Pure numpy.

Sources: Efron & Tibshirani 1993, chapter 13 (percentile bootstrap); Wilson 1927 and
Brown, Cai & DasGupta 2001 (the score interval, right for small n and rates near 0 and 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from alignment.errors import UsageError
from alignment.randomness import named_generator
from alignment.report.table import Interval

_DRAWS_AT_ONCE = 4_000_000  # indices held at a time: 32 MB


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    seed: int,
    *,
    groups: Sequence[int | str] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> Interval:
    """The mean with its percentile bootstrap interval.

    Values that belong together (several answers to one prompt) are not independent; name their
    groups, and whole groups are drawn instead of single values.

    Args:
        values: [n] finite numbers.
        seed: the run's seed; the same values and seed give the same interval.
        groups: [n] the group of each value, or None where each stands alone.
        confidence: coverage in (0, 1).
        num_resamples: bootstrap draws.

    Returns:
        The interval; of a single value or group it is that point, so say n beside it.

    Raises:
        UsageError: no values, a value that is not finite, or as many groups as values do not.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise UsageError(f"a bootstrap needs a list of at least one value; it got shape {data.shape}")
    if not np.isfinite(data).all():
        bad = int(np.flatnonzero(~np.isfinite(data))[0])
        raise UsageError(f"a bootstrap needs finite values; value {bad} is {data[bad]}")
    if not 0 < confidence < 1 or num_resamples < 1:
        raise UsageError(
            f"a bootstrap needs a confidence in (0, 1) and at least one resample; "
            f"it got {confidence} and {num_resamples}"
        )
    sums, counts = _per_group(data, groups)
    generator = named_generator(seed, "bootstrap", len(sums), num_resamples)
    means = np.empty(num_resamples)
    step = max(1, _DRAWS_AT_ONCE // len(sums))
    for start in range(0, num_resamples, step):
        drawn = generator.integers(len(sums), size=(min(step, num_resamples - start), len(sums)))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(value=float(data.mean()), low=float(low), high=float(high))


def _per_group(data: np.ndarray, groups: Sequence[int | str] | None) -> tuple[np.ndarray, np.ndarray]:
    if groups is None:
        return data, np.ones_like(data)
    if len(groups) != data.size:
        raise UsageError(f"{data.size} values come with {len(groups)} groups; each value needs one")
    numbers: dict[int | str, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    return np.bincount(index, weights=data), np.bincount(index).astype(np.float64)


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """A proportion with Wilson's score interval.

    Args:
        successes: in [0, n]; a tie may count one half.
        n: trials, at least 1.
        confidence: coverage in (0, 1).

    Raises:
        UsageError: no trials, or more successes than trials.
    """
    if n < 1 or not 0 <= successes <= n or not 0 < confidence < 1:
        raise UsageError(
            f"a proportion needs 0 <= successes <= n, n >= 1 and a confidence in (0, 1); "
            f"it got {successes} of {n} at {confidence}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and n the exact end is the rate itself; rounding must not put the rate outside.
    return Interval(value=rate, low=max(0.0, min(centre - half, rate)), high=min(1.0, max(centre + half, rate)))


# 97.5 % quantiles of Student's t for 1 … 30 degrees of freedom; beyond, the normal's is within 2 %
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def mean_over_seeds(values: Sequence[float]) -> Interval:
    """The mean of one figure over runs that differ by their seed alone, with Student's 95 % interval.

    A bootstrap over three to five values would be far too narrow (there are 10 draws of three).

    Args:
        values: one per seed, at least two.

    Raises:
        UsageError: fewer than two values, or one that is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size < 2 or not np.isfinite(data).all():
        raise UsageError(f"an interval over seeds needs at least two finite values; it got {list(values)}")
    degrees = data.size - 1
    quantile = _T[degrees - 1] if degrees <= len(_T) else NormalDist().inv_cdf(0.975)
    half = quantile * float(data.std(ddof=1)) / math.sqrt(data.size)
    mean = float(data.mean())
    return Interval(value=mean, low=mean - half, high=mean + half)
