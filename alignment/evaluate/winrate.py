"""Who wins: win rates with ties and intervals, and one ranking of all versions.

Llama 2 paper, 3.4: answers side by side, win / tie / loss; its win rate is win / (win + loss), FastChat's
counts a tie as half: both are given.  Intervals are percentile bootstraps over prompts.  Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignment.errors import UsageError
from alignment.report.intervals import bootstrap_mean

_RATING_PER_LOG_ODDS = 400 / np.log(10)  # the Elo scale: 400 points are odds of ten to one


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """The first version against the second.

    Attributes:
        wins, ties, losses: prompts; they add up to the prompts compared.
        rate: (wins + ties / 2) / all.
        low, high: 95 % interval of `rate`.
        decided: wins / (wins + losses), the paper's; None if all are ties.
    """

    wins: int
    ties: int
    losses: int
    rate: float
    low: float
    high: float
    decided: float | None


def win_rate(
    first: Sequence[float], second: Sequence[float], *, tie: float = 0.0, num_resamples: int = 2000, seed: int = 0
) -> WinRate:
    """Compare two versions' scores on the same prompts.

    Args:
        first, second: [P] scores by one judge; higher is better.
        tie: a difference of at most this is a tie.
        num_resamples: resamples of the prompts.

    Raises:
        UsageError: the lists differ in length, are empty, or hold NaN or infinities.
    """
    a, b = _scores("first", first), _scores("second", second)
    if len(a) != len(b):
        raise UsageError(f"win_rate got {len(a)} and {len(b)} scores; both versions must answer the same prompts")
    return win_rate_of(np.sign(np.where(np.abs(a - b) <= tie, 0.0, a - b)), num_resamples=num_resamples, seed=seed)


def win_rate_of(outcomes: Sequence[int] | np.ndarray, *, num_resamples: int = 2000, seed: int = 0) -> WinRate:
    """The win rate of outcomes 1 (win), 0 (tie), -1 (loss), one a prompt.

    Raises:
        UsageError: there are none, or another value is among them.
    """
    values = np.asarray(outcomes, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isin(values, (-1.0, 0.0, 1.0)).all():
        raise UsageError("a win rate needs at least one outcome, each 1 (win), 0 (tie) or -1 (loss)")
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    mean = bootstrap_mean((values + 1) / 2, seed, num_resamples=num_resamples)
    return WinRate(
        wins=wins,
        ties=len(values) - wins - losses,
        losses=losses,
        rate=mean.value,
        low=mean.low,
        high=mean.high,
        decided=wins / (wins + losses) if wins + losses else None,
    )


def ranking(scores: Mapping[str, Sequence[float]], *, tie: float = 0.0) -> dict[str, float]:
    """Elo-like ratings of all versions from all their pairwise outcomes: a Bradley-Terry fit.

    Ties are half a win each way; one imagined tie between each two versions keeps the ratings finite.
    The mean rating is 1000, and 400 points are odds of ten to one.

    Args:
        scores: version -> [P] scores by one judge on the same prompts.

    Returns:
        Version -> rating, the best first.

    Raises:
        UsageError: fewer than two versions, or lists of different lengths.
    """
    names = list(scores)
    if len(names) < 2:
        raise UsageError(f"a ranking needs two versions or more; it got {len(names)}")
    points = np.zeros((len(names), len(names)))  # [i, j]: points of i against j
    for i in range(len(names)):
        for j in range(i):
            a, b = _scores(names[i], scores[names[i]]), _scores(names[j], scores[names[j]])
            if len(a) != len(b):
                raise UsageError(
                    f"{names[i]} and {names[j]} have {len(a)} and {len(b)} scores; the prompts must be the same"
                )
            ahead, behind = int((a - b > tie).sum()), int((b - a > tie).sum())
            tied = len(a) - ahead - behind
            points[i, j] = ahead + tied / 2 + 0.5
            points[j, i] = behind + tied / 2 + 0.5
    strength = fit_bradley_terry(points)
    ratings = 1000 + _RATING_PER_LOG_ODDS * (strength - strength.mean())
    return dict(sorted(((n, float(r)) for n, r in zip(names, ratings, strict=True)), key=lambda pair: -pair[1]))


def fit_bradley_terry(points: np.ndarray, *, tolerance: float = 1e-10, max_steps: int = 10_000) -> np.ndarray:
    """Maximum-likelihood log-strengths by the usual minorise-maximise steps (Hunter 2004).

    Args:
        points: [V, V], points of row against column; every two versions must have met and both scored.

    Returns:
        [V] log-strengths with mean 0.

    Raises:
        UsageError: some two versions have no points, so that no finite fit exists.
    """
    points = np.asarray(points, dtype=float)
    off = ~np.eye(len(points), dtype=bool)
    if points.ndim != 2 or points.shape[0] != points.shape[1] or (points[off] <= 0).any():
        raise UsageError("a Bradley-Terry fit needs a square table with points for every two versions, both ways")
    met = points + points.T
    won = np.where(off, points, 0.0).sum(axis=1)
    strength = np.ones(len(points))
    for _ in range(max_steps):
        shared = np.where(off, met / (strength[:, None] + strength[None, :]), 0.0).sum(axis=1)
        new = won / shared
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new) - np.log(strength)).max() < tolerance:
            found: np.ndarray = np.log(new)
            return found
        strength = new
    return np.log(strength)


def _scores(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    data = np.asarray(values, dtype=float)
    if data.ndim != 1 or not len(data):
        raise UsageError(f"{name} has the shape {data.shape}; one score per prompt is needed, at least one")
    if not np.isfinite(data).all():
        at = int(np.flatnonzero(~np.isfinite(data))[0])
        raise UsageError(f"{name}[{at}] is {data[at]}; scores must be finite")
    return data
