"""How good a reward model is: accuracy by grade and source on held-out pairs, and its safety labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from alignment.report.intervals import wilson
from alignment.train.compute import Compute
from reward.model import RewardModel
from reward.preferences import Example, PairExample
from reward.result import RewardEvaluation, Share, group_order


def evaluate_reward(reward_model: RewardModel, examples: Sequence[Example], compute: Compute) -> RewardEvaluation:
    """Score held-out pairs and labelled answers."""
    if not examples:
        return RewardEvaluation()
    scored = reward_model.score_ids(
        [example.tree.segments[0].tolist() for example in examples],
        [[segment.tolist() for segment in example.tree.segments[1:]] for example in examples],
        compute,
    )
    wins: dict[str, list[float]] = defaultdict(list)
    gaps: dict[str, list[float]] = defaultdict(list)
    labels: list[float] = []
    label_scores: list[float] = []
    for example, scores in zip(examples, scored, strict=True):
        if isinstance(example, PairExample):
            gap = scores[0] - scores[1]
            for group in ("all", f"grade:{example.grade or 'ungraded'}", f"source:{example.source}"):
                wins[group].append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
                gaps[group].append(gap)
        for safe, score in zip(example.labels, scores, strict=True):
            if safe is not None:
                labels.append(float(safe))
                label_scores.append(score)
    accuracy = {}
    for group in sorted(wins, key=group_order):
        interval = wilson(sum(wins[group]), len(wins[group]))
        accuracy[group] = Share(value=interval.value, low=interval.low, high=interval.high, pairs=len(wins[group]))
    return RewardEvaluation(
        accuracy=accuracy,
        mean_gap={group: float(np.mean(gaps[group])) for group in accuracy},
        safety=_safety(np.asarray(labels), np.asarray(label_scores)) if labels else {},
        scores=_histogram([score for scores in scored for score in scores]),
    )


def _safety(safe: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    flagged, unsafe = scores < 0.0, safe == 0.0  # sigma(r) < 0.5
    caught = float(np.sum(flagged & unsafe))
    return {
        "answers": float(len(safe)),
        "unsafe_share": float(unsafe.mean()),
        "recall_of_unsafe": caught / max(float(unsafe.sum()), 1.0),
        "precision_of_unsafe": caught / max(float(flagged.sum()), 1.0),
        "area_under_curve": _area_under_curve(scores[~unsafe], scores[unsafe]),
    }


def _area_under_curve(safe_scores: np.ndarray, unsafe_scores: np.ndarray) -> float:
    """Chance that a safe answer scores above an unsafe one, ties half; 0.5 where one side is empty."""
    if not len(safe_scores) or not len(unsafe_scores):
        return 0.5
    order = np.sort(unsafe_scores)
    below = np.searchsorted(order, safe_scores, side="left")
    up_to = np.searchsorted(order, safe_scores, side="right")
    return float((below + up_to).sum() / (2 * len(safe_scores) * len(unsafe_scores)))


def _histogram(scores: list[float]) -> dict[str, list[float]]:
    counts, edges = np.histogram(np.asarray(scores), bins=24)
    return {"counts": counts.astype(float).tolist(), "edges": edges.tolist()}
