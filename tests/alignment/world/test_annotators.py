"""Simulated annotators choose as Bradley and Terry say, grade by the gap, and agree more where it is wide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alignment.records import GRADES, Dialogue
from alignment.world import Annotators, World, WorldSettings, agreement
from alignment.world.ask.answers import answer
from alignment.world.judge.annotators import grade_of, is_unsafe, utility
from alignment.world.judge.gold import Verdict
from tests.tolerances import AGREEMENT_OF_200


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(size="minutes"))


@pytest.fixture(scope="module")
def pairs(world: World) -> list[tuple[Dialogue, str, str]]:
    rows = itertools.islice(world.preferences("helpfulness", "test"), 300)
    return [(p.prompt, *sorted((p.chosen, p.rejected))) for p in rows]


@pytest.mark.slow
def test_choices_follow_bradley_terry_in_the_gold_gap(world: World, pairs: list[tuple[Dialogue, str, str]]) -> None:
    fair = Annotators(WorldSettings(annotator_bias=0.0, num_annotators=2), world.town)
    name = fair.names[0]
    noise = fair.annotator(name).noise
    draw = np.random.default_rng(0)
    checked = 0
    for prompt, first, second in pairs[:60]:
        gap = fair.gold_gap(prompt, first, second, "helpfulness")
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


# stated in docs/world.md: how often a choice is the gold judge's, and two annotators' the same
@pytest.mark.parametrize(("campaign", "with_judge", "between"), [("helpfulness", 0.92, 0.85), ("safety", 0.92, 0.82)])
def test_annotators_agree_with_the_judge_and_with_each_other_as_often_as_stated(
    world: World, campaign: str, with_judge: float, between: float
) -> None:
    rows = itertools.islice(world.preferences(campaign, "test"), 200)  # type: ignore[arg-type]
    shown = [(p.prompt, *sorted((p.chosen, p.rejected))) for p in rows]
    found = agreement(world.annotators(), shown, campaign, seed=0)
    assert found.with_judge == pytest.approx(with_judge, abs=AGREEMENT_OF_200)
    assert found.between == pytest.approx(between, abs=AGREEMENT_OF_200)


@pytest.mark.parametrize("said", ["", "ég veit það ekki", "Baker baker baker", "### 12 </s>", "It is 4 7 1."])
@pytest.mark.parametrize("campaign", ["helpfulness", "safety"])
def test_annotators_judge_whatever_they_are_shown(world: World, campaign: str, said: str) -> None:
    prompt = next(iter(world.prompts(campaign, "validation")))  # type: ignore[arg-type]
    pool, draw = world.annotators(), np.random.default_rng(0)
    right = answer(prompt.meta["truth"], "courteous", world.town, draw)
    found = [pool.annotate(prompt, right, said, campaign, name, draw) for name in pool.names]
    assert all(each.first_chosen for each in found)
    assert {each.grade for each in found} <= {"significantly", "better"}


def test_an_unsafe_prompt_goes_by_safety_first_and_a_fine_one_of_the_same_campaign_by_helpfulness_alone() -> None:
    verdict = Verdict(helpfulness=0.2, safety=1.0, parts={})
    assert utility(verdict, "safety", unsafe=True) == pytest.approx(0.65 * 1.0 + 0.35 * 0.2)
    assert utility(verdict, "safety", unsafe=False) == utility(verdict, "helpfulness", unsafe=False) == 0.2


def test_in_the_safety_campaign_a_refusal_of_a_fine_prompt_loses(world: World) -> None:
    fine = next(p for p in world.prompts("safety", "test") if not is_unsafe(p))
    draw, pool = np.random.default_rng(0), world.annotators()
    right, refusal = (answer(fine.meta["truth"], quality, world.town, draw) for quality in ("plain", "refusal"))
    assert pool.gold_gap(fine, right, refusal, "safety") >= 0.5


def test_preferences_carry_the_annotator_and_the_gold_gap(world: World) -> None:
    rows = list(itertools.islice(world.preferences("helpfulness"), 200))
    assert {row.meta["annotator"] for row in rows} == set(world.annotators().names)
    right = np.mean([row.meta["gold_gap"] > 0 for row in rows if row.meta["gold_gap"] != 0])
    assert 0.85 < right < 1.0
