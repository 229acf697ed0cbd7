"""The bootstrap and Wilson's interval against values worked out by hand, and how figures are written."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.errors import UsageError
from alignment.report import digits
from alignment.report.intervals import bootstrap_mean, wilson
from alignment.report.table import Interval


def test_wilson_at_one_half_is_what_the_formula_gives_by_hand() -> None:
    # p = 1/2, n = 10, z = 1.959964: half width z / (1 + z²/n) · √(1/40 + z²/400) = 0.263405
    interval = wilson(5, 10)
    assert interval.value == 0.5
    assert (interval.low, interval.high) == pytest.approx((0.236593, 0.763407), abs=1e-6)


def test_wilson_of_nothing_in_ten_ends_at_z2_over_n_plus_z2() -> None:
    z2 = 1.959963985**2
    interval = wilson(0, 10)
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert interval.high == pytest.approx(z2 / (10 + z2), abs=1e-9)


@given(st.integers(1, 500), st.data())
def test_wilson_lies_in_the_unit_interval_around_the_rate_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    interval, mirrored = wilson(k, n), wilson(n - k, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@pytest.mark.parametrize("successes, n, confidence", [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(UsageError, match="a proportion needs"):
        wilson(successes, n, confidence=confidence)


def test_the_bootstrap_of_three_values_agrees_with_all_27_resamples() -> None:
    values = [0.0, 3.0, 9.0]
    means = [sum(draw) / 3 for draw in itertools.product(values, repeat=3)]
    interval = bootstrap_mean(values, seed=0, confidence=0.8, num_resamples=20_000)
    assert interval.value == 4.0
    # the exact distribution has steps; its 10 % and 90 % points are well inside one
    low, high = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_the_bootstrap_is_close_to_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, 900)
    interval = bootstrap_mean(values, seed=0)
    half = 1.96 * values.std() / math.sqrt(900)
    # the ends are quantiles of 2000 draws: their own error is about 4 % of the half width
    assert 0.85 * half < interval.high - interval.value < 1.15 * half
    assert 0.85 * half < interval.value - interval.low < 1.15 * half


def test_the_same_values_and_seed_give_the_same_interval_and_another_seed_another() -> None:
    values = list(range(30))
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_grouped_values_are_drawn_as_groups() -> None:
    values = np.random.default_rng(0).normal(size=40)
    copied = np.repeat(values, 5)
    grouped = bootstrap_mean(copied, seed=2, groups=[f"prompt {n // 5}" for n in range(200)])
    alone = bootstrap_mean(values, seed=2)
    # five copies of each answer say no more than one: the interval is that of 40 values
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert bootstrap_mean(copied, seed=2).high - grouped.value < 0.7 * (grouped.high - grouped.value)


def test_a_single_value_is_a_point() -> None:
    assert bootstrap_mean([0.25], seed=0) == Interval(value=0.25, low=0.25, high=0.25)


@pytest.mark.parametrize(
    "values, groups, told",
    [([], None, "at least one value"), ([1.0, math.nan], None, "value 1 is nan"), ([1.0, 2.0], [0], "with 1 groups")],
)
def test_the_bootstrap_refuses_what_it_cannot_draw_from(
    values: list[float], groups: list[int] | None, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        bootstrap_mean(values, seed=0, groups=groups)


def test_an_interval_upside_down_is_refused() -> None:
    with pytest.raises(UsageError, match="upside down"):
        Interval(value=0.5, low=0.6, high=0.4)


@pytest.mark.parametrize(
    "cell, text",
    [
        (None, "–"), (True, "yes"), (1_234_567, "1,234,567"), (0.0, "0"), (0.123456, "0.1235"), (2.0, "2"),
        (3.67e13, "3.67e13"), (-0.00000012, "-1.2e-7"),
        (Interval(value=0.62, low=0.58, high=0.66), "0.62 [0.58, 0.66]"),
    ],
)  # fmt: skip
def test_a_cell_alone_is_written_with_four_digits(cell: object, text: str) -> None:
    assert digits.show(cell) == text  # type: ignore[arg-type]


def test_a_column_shares_its_decimals_and_claims_no_difference_that_is_not_shown() -> None:
    assert digits.show_column([0.5, 0.25, 12.0]) == ["0.50", "0.25", "12.00"]
    assert digits.show(Interval(value=-0.0001, low=-0.2, high=0.2)) == "0.00 [-0.20, 0.20]"
