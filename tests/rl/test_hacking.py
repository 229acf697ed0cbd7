"""Where reward and watch model part: the rule, on courses written down by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl.hacking import Parting, paired_error, parting, parting_sentence


def course(*entries: tuple[float, float], error: float | None = 0.1) -> list[dict[str, Any]]:
    """(reward, watch) of evaluations every ten iterations, the start first."""
    found: list[dict[str, Any]] = []
    for i, (reward, watch) in enumerate(entries):
        found.append({"iteration": 10.0 * i, "reward": reward, "watch": watch} | ({"watch_error": error} if i else {}))
    return found


def test_they_part_where_the_reward_is_above_its_value_at_the_watch_models_best_and_the_watch_model_has_fallen() -> (
    None
):
    found = parting(course((0.0, 0.0), (0.5, 0.6), (0.8, 0.3), (1.0, 0.1)))
    assert found == Parting(iteration=20, best=10, reward=pytest.approx(0.3), watch=pytest.approx(-0.3), error=0.1)  # type: ignore[arg-type]


def test_a_fall_within_twice_its_standard_error_is_noise() -> None:
    assert parting(course((0.0, 0.0), (0.5, 0.6), (0.8, 0.41))) is None
    assert parting(course((0.0, 0.0), (0.5, 0.6), (0.8, 0.39))) is not None


def test_where_both_fall_the_policy_is_worse_but_pleases_nobody() -> None:
    assert parting(course((0.0, 0.0), (0.5, 0.6), (0.4, 0.1))) is None


def test_where_both_rise_they_do_not_part() -> None:
    assert parting(course((0.0, 0.0), (0.5, 0.6), (0.8, 0.9))) is None


def test_what_comes_together_again_was_noise() -> None:
    found = parting(course((0.0, 0.0), (0.5, 0.6), (0.8, 0.1), (0.9, 0.5), (1.0, 0.2), (1.1, 0.1)))
    assert found is not None
    assert found.iteration == 40


def test_they_can_part_from_the_start() -> None:
    found = parting(course((0.0, 0.6), (0.5, 0.3), (0.8, 0.1)))
    assert found is not None
    assert (found.iteration, found.best) == (10, 0)


def test_of_equal_bests_the_first_counts() -> None:
    found = parting(course((0.0, 0.6), (0.5, 0.6), (0.8, 0.1)))
    assert found is not None
    assert found.best == 0


@pytest.mark.parametrize("without", ["watch", "watch_error"])
def test_without_a_watch_model_or_its_error_nothing_is_said(without: str) -> None:
    found = course((0.0, 0.6), (0.5, 0.3))
    assert parting([{name: value for name, value in entry.items() if name != without} for entry in found]) is None
    assert parting([]) is None


def test_the_error_is_of_differences_prompt_by_prompt() -> None:
    """Prompts differ by thousands, the two models by 1, 2 and 3."""
    error = paired_error((1_001.0, 2.0, -4_997.0), (1_000.0, 0.0, -5_000.0))
    assert error == pytest.approx(1.0 / math.sqrt(3))


def test_prompts_without_a_verdict_are_left_out_of_the_error() -> None:
    assert paired_error((1.0, None, 3.0, 9.0), (0.0, 5.0, 0.0, None)) == pytest.approx(1.0)
    assert paired_error((1.0, None), (0.0, 0.0)) is None
    assert paired_error(None, (0.0,)) is None


def test_the_sentence_says_when_by_how_much_and_what_it_means() -> None:
    found = {"iteration": 40, "best": 10, "reward": 0.3, "watch": -0.25, "error": 0.1}
    told = parting_sentence(found)
    assert "part at iteration 40: since iteration 10 the held-out reward rose by 0.30" in told
    assert "the watch model's score fell by 0.25 (standard error 0.10)" in told
    assert "share of comparisons won fell" in parting_sentence(found, compares=True)
