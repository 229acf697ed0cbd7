"""Margins of one's own: what a recipe may say, and what it is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reward.margins import margin_of
from reward.settings import RewardSettings


def test_a_recipe_may_give_grades_numbers_of_its_own_and_leave_some_out() -> None:
    margin = RewardSettings(margin={"significantly": 2.5, "better": 1}).margin
    assert [margin_of(g, margin) for g in ("significantly", "better", "slightly", None)] == [2.5, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("margin", "told"),
    [
        ("huge", "is 'huge'; right are none, small, large, or {grade: number}"),
        ({"great": 1.0}, "names the grade 'great', which there is not; the grades are significantly, better, slightly"),
        ({"better": "two"}, "gives better the margin 'two'; a margin is a number, 0 or more"),
        ({"better": -1.0}, "gives better the margin -1.0"),
        ({"better": True}, "gives better the margin True"),
        ({"better": float("inf")}, "gives better the margin inf"),
        ({}, "is empty; say none"),
        (3, "is 3; right are none, small, large"),
    ],
)
def test_a_margin_that_is_none_is_told_what_there_is(margin: Any, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RewardSettings(margin=margin)
    (problem,) = caught.value.errors()
    assert told in problem["msg"]


def test_the_paper_s_names_leave_the_fingerprint_as_it_was() -> None:
    values = RewardSettings().fingerprint_values()
    assert values["margin"] == "large"
    assert "centring" not in values
