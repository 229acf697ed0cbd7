"""Simulated annotators choose as Bradley and Terry say, grade by the gap, and agree more where it is wide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alignment.records import GRADES, Dialogue
from alignment.world import Annotators, World, WorldSettings, agreement
from alignment.world.judge.annotators import grade_of, utility


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(size="minutes"))


@pytest.fixture(scope="module")
def pairs(world: World) -> list[tuple[Dialogue, str, str]]:
    rows = itertools.islice(world.preferences("helpfulness", "test"), 300)
    return [(p.prompt, *sorted((p.chosen, p.rejected))) for p in rows]


@pytest.mark.slow
def test_choices_follow_bradley_terry_in_the_gold_gap(world: World, pairs: list[tuple[Dialogue, str, str]]) -> None:
    fair = Annotators(WorldSettings(annotator_bias=0.0, num_annotators=2), world.judge())
    name = fair.names[0]
    noise = fair.annotator(name).noise
    draw = np.random.default_rng(0)
    checked = 0
    for prompt, first, second in pairs[:60]:
        gap = utility(world.judge().verdict(prompt, first), "helpfulness")
        gap -= utility(world.judge().verdict(prompt, second), "helpfulness")
        if 0.02 < abs(gap) < 0.3:
            chosen = [fair.annotate(prompt, first, second, "helpfulness", name, draw).first_chosen for _ in range(500)]
            expected = 1 / (1 + np.exp(-gap / noise))
            assert np.mean(chosen) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 500))
            checked += 1
    assert checked >= 5


def test_the_grade_rises_with_the_gap_and_ignores_its_sign() -> None:
    assert [grade_of(gap) for gap in (0.0, 0.1, -0.3, 0.9)] == list(GRADES)


def test_annotators_agree_more_with_the_judge_the_stronger_the_grade(
    world: World, pairs: list[tuple[Dialogue, str, str]]
) -> None:
    found = agreement(world.annotators(), pairs, "helpfulness", seed=0)
    shares = [found.by_grade[grade][1] for grade in GRADES]
    assert shares == sorted(shares)
    assert shares[-1] > 0.97
    assert 0.5 < shares[0] < 0.8
    assert 0.6 < found.between < found.with_judge < 1.0
    assert 0.2 < found.ac1 < found.between


@pytest.mark.slow
def test_an_annotator_with_a_taste_for_length_prefers_the_longer_of_two_equal_answers(world: World) -> None:
    prompt = next(
        p for p in world.prompts("helpfulness") if p.meta["task"] == "person_fact" and p.meta["attribute"] == "job"
    )
    name, _, value = prompt.meta["truth"]["facts"][0]
    long, short = f"{name} has worked as a {value} for years.", f"{name} is a {value}."
    pool = world.annotators()
    tastes = {n: pool.annotator(n).length_taste for n in pool.names}
    draw = np.random.default_rng(0)
    rate = {
        n: np.mean([pool.annotate(prompt, long, short, "helpfulness", n, draw).first_chosen for _ in range(2000)])
        for n in pool.names
    }
    most, least = max(tastes, key=tastes.__getitem__), min(tastes, key=tastes.__getitem__)
    assert rate[most] > rate[least] + 0.05


def test_preferences_carry_the_annotator_and_the_gold_gap(world: World) -> None:
    rows = list(itertools.islice(world.preferences("helpfulness"), 200))
    assert {row.meta["annotator"] for row in rows} == set(world.annotators().names)
    right = np.mean([row.meta["gold_gap"] > 0 for row in rows if row.meta["gold_gap"] != 0])
    assert 0.85 < right < 1.0
