"""What a reward model's training comes to: its headline, and the mapping that a run keeps."""

from __future__ import annotations

from alignment.train.result import TrainingResult
from reward.result import (
    Calibration,
    CalibrationBin,
    Estimate,
    RewardEvaluation,
    RewardResult,
    Share,
    ThresholdPoint,
)

SHARE = Share(value=0.5, low=0.25, high=0.75, pairs=8)
GAP = Estimate(value=0.1, low=-0.2, high=0.4)


def _result(held_out: dict[str, float], share: Share | None = SHARE) -> RewardResult:
    return RewardResult(
        training=TrainingResult(steps=3, tokens=9, seconds=0.5, held_out=held_out),
        evaluation=RewardEvaluation(accuracy={"all": share}, mean_gap={"all": GAP}) if share else RewardEvaluation(),
        pairs=32,
        held_out_pairs=8,
        too_long=1,
    )


def test_a_result_has_one_accuracy_the_one_of_the_evaluation() -> None:
    result = _result({"loss": 0.7, "accuracy": 0.47})  # the training counts a tie as wrong, and single answers too
    assert result.headline == "accuracy 0.5"
    assert result.as_json()["accuracy"] == 0.5


def test_without_held_out_pairs_the_headline_is_the_trainings_and_there_is_no_accuracy() -> None:
    result = _result({"accuracy": 0.47}, share=None)  # of single labelled answers alone
    assert result.headline == "steps 3"
    assert "accuracy" not in result.as_json()


def test_the_mapping_holds_training_counts_and_evaluation() -> None:
    found = _result({"accuracy": 0.47}).as_json()
    assert list(found) == [
        "steps",
        "tokens",
        "seconds",
        "accuracy",
        "pairs",
        "held_out_pairs",
        "too_long",
        "evaluation",
    ]
    assert found["evaluation"]["accuracy"] == {"all": {"value": 0.5, "low": 0.25, "high": 0.75, "pairs": 8}}
    assert found["evaluation"]["mean_gap"] == {"all": {"value": 0.1, "low": -0.2, "high": 0.4}}


def test_a_run_keeps_the_single_figures_and_evaluation_json_the_curves_too() -> None:
    point = ThresholdPoint(threshold=0.15, flagged=0.5, precision=GAP, recall=None)
    bins = (CalibrationBin(predicted=0.6, observed=GAP, number=3),)
    evaluation = RewardEvaluation(unsafe_curve=(point,), calibration={"pairs": Calibration(error=GAP, bins=bins)})
    whole, kept = evaluation.as_json(), evaluation.summary()
    assert whole["unsafe_curve"][0]["recall"] is None
    assert whole["calibration"]["pairs"]["bins"][0]["number"] == 3
    assert kept["calibration_error"] == {"pairs": {"value": 0.1, "low": -0.2, "high": 0.4}}
    assert "unsafe_curve" not in kept
