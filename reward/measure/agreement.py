"""How far two reward models agree on pairs: which answer is better, and by how much.  P pairs."""

from __future__ import annotations

import numpy as np

from reward.measure.length import correlation
from reward.measure.scored import ScoredPairs
from reward.result import Agreement, Share


def agreement(first: ScoredPairs, second: ScoredPairs) -> Agreement | None:
    """Of the same pairs, scored by two models; None where there are none."""
    if not len(first.gaps):
        return None
    # wins are 1, 0.5 and 0: alike is 1, opposite 0, a tie of one of them in between
    alike = 1.0 - np.abs(first.wins - second.wins)
    (same,) = first.draws.shares(alike, np.ones((len(alike), 1), dtype=bool))
    if same is None:
        return None
    return Agreement(
        same=Share(value=same.value, low=same.low, high=same.high, pairs=len(alike)),
        gaps=first.draws.estimate(lambda weights: correlation(first.gaps, second.gaps, weights)),
    )
