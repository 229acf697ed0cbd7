"""How good a reward model is on held-out pairs and labelled answers (Llama 2 paper, 3.2.2, tables 7, 8 and 28).

Scores are taken here; what they say stands in `measure/`.  Every figure has a bootstrap interval by prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.train.compute import Compute
from reward.measure.calibration import label_calibration, pair_calibration
from reward.measure.length import length_bias
from reward.measure.scored import LabelledScores, ScoredPairs, sigmoid
from reward.measure.unsafe_side import safety_figures, unsafe_curve
from reward.model import RewardModel
from reward.preferences import Example, PairExample
from reward.result import RewardEvaluation, group_order

_QUANTILES = {"min": 0.0, "p01": 0.01, "p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def evaluate_reward(reward_model: RewardModel, examples: Sequence[Example], compute: Compute) -> RewardEvaluation:
    """Score held-out pairs and labelled answers, and say how good the scores are."""
    if not examples:
        return RewardEvaluation()
    scored = score_examples(reward_model, examples, compute)
    pairs, answers = scored_pairs(examples, scored), labelled_scores(examples, scored)
    groups = {name: pairs.groups[name] for name in sorted(pairs.groups, key=group_order)}
    calibrations = {"pairs": pair_calibration(pairs), "labels": label_calibration(answers)}
    everything = np.array([score for scores in scored for score in scores])
    return RewardEvaluation(
        accuracy=pairs.accuracy(groups),
        mean_gap=pairs.mean_gaps(groups),
        labelled=len(answers.scores),
        safety=safety_figures(answers),
        unsafe_curve=unsafe_curve(answers),
        calibration={name: found for name, found in calibrations.items() if found is not None},
        length=length_bias(pairs),
        scores=_histogram(everything, answers),
        score_range={name: float(np.quantile(sigmoid(everything), at)) for name, at in _QUANTILES.items()},
    )


def score_examples(reward_model: RewardModel, examples: Sequence[Example], compute: Compute) -> list[list[float]]:
    """The scores of every example's answers, before the sigmoid."""
    return reward_model.score_ids(
        [example.tree.segments[0].tolist() for example in examples],
        [[segment.tolist() for segment in example.tree.segments[1:]] for example in examples],
        compute,
    )


def scored_pairs(examples: Sequence[Example], scored: Sequence[Sequence[float]]) -> ScoredPairs:
    """The pairs among the examples with their scores."""
    rows = [
        (example, scores) for example, scores in zip(examples, scored, strict=True) if isinstance(example, PairExample)
    ]
    lengths = [[len(segment) for segment in example.tree.segments[1:]] for example, _ in rows]
    return ScoredPairs(
        chosen=np.array([scores[0] for _, scores in rows]),
        rejected=np.array([scores[1] for _, scores in rows]),
        chosen_tokens=np.array([first for first, _ in lengths]),
        rejected_tokens=np.array([second for _, second in lengths]),
        grades=tuple(example.grade for example, _ in rows),
        sources=tuple(example.source for example, _ in rows),
        labels=tuple((example.chosen_safe, example.rejected_safe) for example, _ in rows),
        prompts=tuple(_prompt(example) for example, _ in rows),
    )


def labelled_scores(examples: Sequence[Example], scored: Sequence[Sequence[float]]) -> LabelledScores:
    """The answers with a safety label, of pairs and single ones, with their scores."""
    rows = [
        (score, safe, _prompt(example))
        for example, scores in zip(examples, scored, strict=True)
        for safe, score in zip(example.labels, scores, strict=True)
        if safe is not None
    ]
    return LabelledScores(
        scores=np.array([score for score, _, _ in rows]),
        safe=np.array([safe for _, safe, _ in rows], dtype=bool),
        prompts=tuple(prompt for _, _, prompt in rows),
    )


def _prompt(example: Example) -> bytes:
    return example.tree.segments[0].tobytes()


def _histogram(scores: np.ndarray, answers: LabelledScores) -> dict[str, list[float]]:
    counts, edges = np.histogram(scores, bins=24)
    found = {"counts": counts.astype(float).tolist(), "edges": edges.tolist()}
    if len(answers.scores):
        for name, side in (("safe", answers.safe), ("unsafe", ~answers.safe)):
            found[name] = np.histogram(answers.scores[side], bins=edges)[0].astype(float).tolist()
    return found
