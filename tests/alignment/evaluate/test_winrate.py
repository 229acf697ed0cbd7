"""Win rates with ties and intervals, and one ranking of all versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.errors import UsageError
from alignment.evaluate.winrate import fit_bradley_terry, ranking, win_rate


def test_wins_ties_and_losses_are_counted_and_a_tie_is_half() -> None:
    found = win_rate([1, 2, 3, 4], [0, 2, 4, 1])
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.rate == 0.625
    assert found.decided == pytest.approx(2 / 3)
    assert found.low <= found.rate <= found.high


def test_a_difference_within_the_tie_is_a_tie() -> None:
    assert win_rate([0.50, 0.9], [0.52, 0.1], tie=0.05).ties == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_swapping_the_versions_mirrors_the_rate(scores: list[tuple[float, float]]) -> None:
    first, second = zip(*scores, strict=True)
    there, back = (win_rate(a, b, num_resamples=10) for a, b in ((first, second), (second, first)))
    assert there.rate == pytest.approx(1 - back.rate)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for i in range(200):
        outcome = draw.random(100) < 0.6
        found = win_rate(outcome.astype(float), 1 - outcome.astype(float), num_resamples=300, seed=i)
        held += found.low <= 0.6 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_the_ranking_recovers_known_strengths() -> None:
    """With points that are exact Bradley-Terry shares, the fit returns the strengths they were made from."""
    strength = np.array([0.7, 0.2, -0.3, -0.6])
    share = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    np.fill_diagonal(share, 0.0)
    assert fit_bradley_terry(100 * share) == pytest.approx(strength - strength.mean(), abs=1e-6)


def test_the_ranking_orders_versions_and_centres_them_at_a_thousand() -> None:
    draw = np.random.default_rng(0)
    base = draw.random(200)
    found = ranking({"sft": base, "v1": base + 0.1 * draw.random(200), "base": base - 0.2 * draw.random(200)})
    assert list(found) == ["v1", "sft", "base"]
    assert np.mean(list(found.values())) == pytest.approx(1000)


def test_versions_that_always_tie_rank_the_same() -> None:
    assert ranking({"a": [1.0, 2.0], "b": [1.0, 2.0]}) == pytest.approx({"a": 1000, "b": 1000})


@pytest.mark.parametrize("scores", [([], []), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0])])
def test_scores_that_cannot_be_compared_are_refused(scores: tuple[list[float], list[float]]) -> None:
    with pytest.raises(UsageError):
        win_rate(*scores)


def test_a_ranking_of_one_version_is_refused() -> None:
    with pytest.raises(UsageError, match="two versions"):
        ranking({"a": [1.0]})
