"""What RLHF's stages come to: their headlines, and the mappings that a run keeps."""

from __future__ import annotations

from alignment.train.result import TrainingResult
from rl.result import HeldOut, PpoResult, RejectionResult, SamplingFigures


def _course(*rewards: float) -> tuple[HeldOut, ...]:
    return tuple(HeldOut(iteration=2 * i, reward=r, helpfulness=0.0, safety=1.0) for i, r in enumerate(rewards))


def test_the_best_evaluation_of_ppo_is_the_first_of_the_highest() -> None:
    result = PpoResult(iterations=6, course=_course(0.01, 0.060641, 0.060641, 0.02), left_out=0)
    assert (result.best.iteration, result.headline) == (2, "best_reward 0.06064")


def test_ppos_mapping_tells_the_course_and_its_ends() -> None:
    found = PpoResult(iterations=2, course=_course(0.25, 0.5), left_out=3, skipped=1).as_json()
    assert found == {
        "iterations": 2,
        "held_out": [
            {"iteration": 0.0, "reward": 0.25, "helpfulness": 0.0, "safety": 1.0},
            {"iteration": 2.0, "reward": 0.5, "helpfulness": 0.0, "safety": 1.0},
        ],
        "start_reward": 0.25,
        "best_reward": 0.5,
        "best_iteration": 2,
        "prompts_left_out": 3,
        "skipped_updates": 1,
    }


def test_rejection_samplings_headline_is_the_kept_reward_and_its_mapping_is_flat() -> None:
    sampling = SamplingFigures(
        version=1,
        prompts=6,
        samples=18,
        mean_reward=0.09,
        median_reward=0.08,
        kept_reward=0.0844348,
        max_reward_by_n={"1": 0.1},
        pool_size=2,
        pool_origins={"v1": 2},
        mean_answer_tokens=11.5,
        cut_share=0.5,
        prompts_left_out=0,
    )
    result = RejectionResult(sampling=sampling, training=TrainingResult(steps=1, tokens=224, seconds=0.5))
    assert result.headline == "kept_reward 0.08443"
    assert result.as_json() == {**sampling.as_json(), "steps": 1, "tokens": 224, "seconds": 0.5}
