"""What held-out scores say: every figure against a hand-worked one, its interval, and what cannot be said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reward.measure.calibration import label_calibration, pair_calibration
from reward.measure.length import length_bias
from reward.measure.resampling import PromptDraws
from reward.measure.scored import LabelledScores, ScoredPairs, sigmoid
from reward.measure.unsafe_side import safety_figures, unsafe_curve
from reward.result import Estimate


def pairs(
    chosen: list[float],
    rejected: list[float],
    *,
    lengths: list[tuple[int, int]] | None = None,
    labels: list[tuple[bool | None, bool | None]] | None = None,
    prompts: list[str] | None = None,
) -> ScoredPairs:
    """Scored pairs, each of a prompt of its own unless said otherwise."""
    number = len(chosen)
    tokens = np.array(lengths or [(5, 5)] * number)
    return ScoredPairs(
        chosen=np.array(chosen),
        rejected=np.array(rejected),
        chosen_tokens=tokens[:, 0],
        rejected_tokens=tokens[:, 1],
        grades=("better",) * number,
        sources=("made",) * number,
        labels=tuple(labels or [(None, None)] * number),
        prompts=tuple(prompts or map(str, range(number))),
    )


def answers(scores: list[float], safe: list[bool], prompts: list[str] | None = None) -> LabelledScores:
    """Labelled answers, each of a prompt of its own unless said otherwise."""
    names = tuple(prompts or map(str, range(len(scores))))
    return LabelledScores(scores=np.array(scores), safe=np.array(safe), prompts=names)


def value(estimate: Estimate | None) -> float:
    """The figure, which must be there and inside its interval."""
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value


def test_an_interval_over_prompts_is_wider_where_answers_hang_together() -> None:
    values = np.array([1.0, 0.0] * 20 + [1.0] * 20)
    everyone = np.ones((60, 1), dtype=bool)
    (alone,) = PromptDraws([str(i) for i in range(60)]).shares(values, everyone)
    (together,) = PromptDraws([str(i // 30) for i in range(60)]).shares(values, everyone)
    assert alone is not None
    assert together is not None
    assert alone.value == together.value == pytest.approx(2 / 3)
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


def test_a_share_without_exceptions_has_wilsons_interval_over_its_prompts() -> None:
    (found,) = PromptDraws(["a", "a", "b", "c"]).shares(np.ones(4), np.ones((4, 1), dtype=bool))
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.438, abs=1e-3)  # 3 of 3


def test_the_same_prompts_give_the_same_interval_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, rows = np.arange(40) % 3 / 2, np.ones((40, 1), dtype=bool)
    names = [str(i) for i in range(40)]
    first = PromptDraws(names).means(values, rows)
    monkeypatch.setattr("reward.measure.resampling._AT_ONCE", 1_000)
    assert PromptDraws(names).means(values, rows) == first


def test_accuracy_is_given_by_the_papers_safety_bins() -> None:
    labels: list[tuple[bool | None, bool | None]] = [(True, False), (True, False), (True, True), (False, False)]
    scored = pairs([1, 0, 2, 0], [0, 1, 1, 0], labels=labels)
    found = scored.accuracy(scored.groups)
    assert {name.removeprefix("safety:"): s.value for name, s in found.items() if name.startswith("safety:")} == {
        "chosen safe, rejected unsafe": 0.5,
        "both safe": 1.0,
        "both unsafe": 0.5,
    }


def test_scores_that_are_log_odds_are_calibrated_and_doubled_ones_are_too_sure() -> None:
    draw = np.random.default_rng(0)
    gap = draw.normal(0, 1.5, 4_000)
    right = draw.random(4_000) < sigmoid(gap)
    signed = np.where(right, gap, -gap).tolist()  # the chosen answer is the truly better one
    calibrated, doubled = (pair_calibration(pairs([k * g for g in signed], [0.0] * 4_000)) for k in (1, 3))
    assert calibrated is not None
    assert doubled is not None
    assert value(calibrated.error) < 0.02
    assert doubled.error.low > 0.05
    assert sum(bin_.number for bin_ in calibrated.bins) == 4_000


def test_the_calibration_error_is_the_weighted_distance_of_the_bins() -> None:
    logit = math.log(0.8 / 0.2)
    found = pair_calibration(pairs([logit, logit, logit, 0.0], [0.0, 0.0, 2 * logit, 0.0]))
    assert found is not None
    assert [(round(b.predicted, 3), b.number) for b in found.bins] == [(0.5, 1), (0.8, 3)]
    assert [b.observed.value for b in found.bins] == pytest.approx([0.5, 2 / 3])
    assert value(found.error) == pytest.approx(3 / 4 * (0.8 - 2 / 3))


def test_labels_are_calibrated_by_the_score_itself() -> None:
    found = label_calibration(answers([math.log(9), -math.log(9)], [True, False]))
    assert found is not None
    assert [(round(b.predicted, 2), b.observed.value) for b in found.bins] == [(0.1, 0.0), (0.9, 1.0)]


def test_recall_and_precision_of_the_unsafe_side_at_one_half_and_the_area() -> None:
    found = safety_figures(answers([-2, -1, 1, -0.5, 3, 2], [False, False, False, True, True, True]))
    assert value(found["unsafe_share"]) == 0.5
    assert value(found["recall_of_unsafe"]) == pytest.approx(2 / 3)
    assert value(found["precision_of_unsafe"]) == pytest.approx(2 / 3)
    assert value(found["area_under_curve"]) == pytest.approx(8 / 9)  # one of nine pairs is the wrong way round


def test_ties_count_half_in_the_area_and_one_side_alone_has_none() -> None:
    assert value(safety_figures(answers([1, 1], [True, False]))["area_under_curve"]) == 0.5
    assert "area_under_curve" not in safety_figures(answers([1, 2], [True, True]))
    assert "recall_of_unsafe" not in safety_figures(answers([1, 2], [True, True]))


def test_the_curve_is_what_each_threshold_would_call_unsafe() -> None:
    logits = [math.log(p / (1 - p)) for p in (0.02, 0.12, 0.3, 0.9)]
    curve = {point.threshold: point for point in unsafe_curve(answers(logits, [False, False, True, True]))}
    assert (value(curve[0.15].precision), value(curve[0.15].recall)) == (1.0, 1.0)
    assert (value(curve[0.05].precision), value(curve[0.05].recall)) == (1.0, 0.5)
    assert value(curve[0.5].precision) == pytest.approx(2 / 3)
    assert [curve[t].flagged for t in (0.05, 0.15, 0.5, 0.95)] == [0.25, 0.5, 0.75, 1.0]


def test_without_unsafe_answers_there_is_no_curve_and_a_threshold_that_flags_none_has_no_precision() -> None:
    assert unsafe_curve(answers([1.0], [True])) == ()
    assert unsafe_curve(answers([3.0, 3.0], [True, False]))[0].precision is None


def test_a_model_that_likes_length_is_told() -> None:
    lengths = [(n, 20 - n) for n in range(1, 20) if n != 10]
    found = length_bias(pairs([a for a, _ in lengths], [b for _, b in lengths], lengths=lengths))
    assert found is not None
    assert value(found.scores) == pytest.approx(1.0)
    assert value(found.gaps) == pytest.approx(1.0)
    assert {name: share.value for name, share in found.accuracy.items()} == {"longer chosen": 1.0, "shorter chosen": 0}


def test_length_matched_pairs_are_within_a_tenth() -> None:
    found = length_bias(pairs([1, 1, 0], [0, 0, 1], lengths=[(10, 10), (10, 9), (10, 8)]))
    assert found is not None
    assert {name: share.pairs for name, share in found.accuracy.items()} == {"matched": 2, "longer chosen": 1}
    assert found.accuracy["matched"].value == 1.0


def test_a_correlation_with_lengths_that_do_not_vary_cannot_be_said() -> None:
    found = length_bias(pairs([1, 2], [0.3, 0.1]))
    assert found is not None
    assert found.scores is None
    assert found.gaps is None
