"""What a reward model's training comes to: its headline, and the mapping that a run keeps."""

from __future__ import annotations

from alignment.train.result import TrainingResult
from reward.result import RewardEvaluation, RewardResult, Share


def _result(held_out: dict[str, float]) -> RewardResult:
    share = Share(value=0.5, low=0.25, high=0.75, pairs=8)
    return RewardResult(
        training=TrainingResult(steps=3, tokens=9, seconds=0.5, held_out=held_out),
        evaluation=RewardEvaluation(accuracy={"all": share}, mean_gap={"all": 0.1}),
        pairs=32,
        held_out_pairs=8,
        too_long=1,
    )


def test_the_headline_is_the_held_out_accuracy() -> None:
    assert _result({"loss": 0.7, "accuracy": 0.47}).headline == "accuracy 0.47"


def test_without_held_out_pairs_the_headline_is_the_trainings() -> None:
    assert _result({}).headline == "steps 3"


def test_the_mapping_holds_training_counts_and_evaluation() -> None:
    found = _result({"accuracy": 0.47}).as_json()
    assert list(found) == [
        "accuracy",
        "steps",
        "tokens",
        "seconds",
        "pairs",
        "held_out_pairs",
        "too_long",
        "evaluation",
    ]
    assert found["evaluation"] == {
        "accuracy": {"all": {"value": 0.5, "low": 0.25, "high": 0.75, "pairs": 8}},
        "mean_gap": {"all": 0.1},
        "safety": {},
        "scores": {},
    }
