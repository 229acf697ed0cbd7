"""Whether a reward model's scores are probabilities: the calibration curve and the expected calibration error.

Guo et al. 2017, "On calibration of modern neural networks", 2: predictions in bins of equal width, the mean prediction
of each against how often it came true.
"""

from __future__ import annotations

import numpy as np

from reward.measure.resampling import PromptDraws, ratio
from reward.measure.scored import LabelledScores, ScoredPairs, sigmoid
from reward.result import Calibration, CalibrationBin

NUM_BINS = 10


def pair_calibration(pairs: ScoredPairs) -> Calibration | None:
    """sigma(|gap|) as the chance that the answer with the higher score is the chosen one; predictions from 0.5 to 1."""
    return _calibration(sigmoid(np.abs(pairs.gaps)), pairs.wins, (0.5, 1.0), pairs.draws)


def label_calibration(answers: LabelledScores) -> Calibration | None:
    """sigma(r) as the chance that an answer is safe; predictions from 0 to 1."""
    return _calibration(answers.probabilities, answers.safe.astype(np.float64), (0.0, 1.0), answers.draws)


def _calibration(
    predicted: np.ndarray, came_true: np.ndarray, span: tuple[float, float], draws: PromptDraws
) -> Calibration | None:
    """Bins of equal width over a span, the upper end in the last one.

    Args:
        predicted: [n] probabilities.
        came_true: [n] 0, 0.5 or 1.
    """
    if not len(predicted):
        return None
    low, high = span
    place = np.clip(((predicted - low) / (high - low) * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    bins = place[:, None] == np.unique(place)

    def error(weights: np.ndarray) -> np.ndarray:
        return ratio(np.abs(weights @ (bins * (came_true - predicted)[:, None])).sum(axis=1), weights.sum(axis=1))

    found, observed = draws.estimate(error), draws.shares(came_true, bins)
    if found is None:
        return None
    return Calibration(
        error=found,
        bins=tuple(
            CalibrationBin(predicted=float(predicted[rows].mean()), observed=share, number=int(rows.sum()))
            for rows, share in zip(bins.T, observed, strict=True)
            if share is not None
        ),
    )
