"""What a reward model's scores have to do with the answers' length.

A model that likes length has a positive correlation and is right where the longer answer is the chosen one.  P pairs,
n = 2 P answers, r draws.
"""

from __future__ import annotations

import numpy as np

from reward.measure.resampling import PromptDraws, ratio
from reward.measure.scored import ScoredPairs
from reward.result import LengthBias

MATCHED = 0.1  # lengths differ by no more than this part of the longer one


def length_bias(pairs: ScoredPairs) -> LengthBias | None:
    """Correlations, and accuracy on pairs of about one length and on those where one answer is longer."""
    if not len(pairs.gaps):
        return None
    scores = np.concatenate([pairs.chosen, pairs.rejected])
    tokens = np.concatenate([pairs.chosen_tokens, pairs.rejected_tokens]).astype(np.float64)
    difference = (pairs.chosen_tokens - pairs.rejected_tokens).astype(np.float64)
    matched = np.abs(difference) <= MATCHED * np.maximum(pairs.chosen_tokens, pairs.rejected_tokens)
    groups = {
        "matched": matched,
        "longer chosen": (difference > 0) & ~matched,
        "shorter chosen": (difference < 0) & ~matched,
    }
    both = PromptDraws((*pairs.prompts, *pairs.prompts))
    return LengthBias(
        scores=both.estimate(lambda weights: correlation(scores, tokens, weights)),
        gaps=pairs.draws.estimate(lambda weights: correlation(pairs.gaps, difference, weights)),
        accuracy=pairs.accuracy(groups),
    )


def correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation of two columns [n] under weights [r, n], [r]; NaN where one of them does not vary."""
    first, second = first - first.mean(), second - second.mean()
    total = weights.sum(axis=1)
    mean_first, mean_second = weights @ first / total, weights @ second / total
    covariance = weights @ (first * second) / total - mean_first * mean_second
    variances = [
        np.clip(weights @ column**2 / total - mean**2, 0.0, None)
        for column, mean in ((first, mean_first), (second, mean_second))
    ]
    # a column that does not vary has a variance of rounding errors
    floor = 1e-12 * np.array([max(float(np.mean(column**2)), 1e-30) for column in (first, second)])
    product = np.where((variances[0] > floor[0]) & (variances[1] > floor[1]), variances[0] * variances[1], 0.0)
    return np.asarray(np.clip(ratio(covariance, np.sqrt(product)), -1.0, 1.0))
