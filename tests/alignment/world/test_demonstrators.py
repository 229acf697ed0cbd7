"""Demonstrations: several people's habits, each shown in its share of answers, and none of them knowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.records import Dialogue
from alignment.world import World, WorldSettings
from alignment.world.ask.demonstrators import DEMONSTRATORS, Habits, demonstrate, habits_table, share_of
from tests.tolerances import STANDARD_ERRORS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "world.md"
HABITS = tuple(field.name for field in fields(Habits))


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(num_people=32, biographies_per_person=1, system_share=0.0))


@pytest.fixture(scope="module")
def demonstrations(world: World) -> list[Dialogue]:
    return list(world.dialogues())


def test_the_table_of_habits_in_the_documentation_is_theirs() -> None:
    assert habits_table() in PAGE.read_text(encoding="utf-8")


def _share(rows: list[Dialogue], shown: str, among: Callable[[Mapping[str, Any]], bool]) -> float:
    """The share of the demonstrations of that truth in which something shows."""
    found = [shown in row.meta["shows"] for row in rows if among(row.meta["truth"])]
    return sum(found) / len(found)


def _off(share: float, count: int) -> float:
    """How far a share of so many draws may lie from its expectation."""
    return STANDARD_ERRORS * float(np.sqrt(share * (1 - share) / count))


def _fine(truth: Mapping[str, Any]) -> bool:
    return bool(truth["form"] != "refuse")


def _sentence(truth: Mapping[str, Any]) -> bool:
    return bool(truth["form"] == "facts" and truth["format"] == "sentence")


def _several(truth: Mapping[str, Any]) -> bool:
    return bool(truth["form"] == "facts" and truth["needed"] > 1)


@pytest.mark.parametrize("habit", HABITS)
def test_each_habit_is_held_in_30_to_70_percent_of_the_answers_and_rudeness_in_10(habit: str) -> None:
    low, high = (0.10, 0.12) if habit == "rude" else (0.3, 0.7)
    assert low <= share_of(habit) <= high


# what docs/world.md states: among the demonstrations in which a habit has a place
@pytest.mark.parametrize(
    ("shown", "among", "share"),
    [
        ("opener", _sentence, 0.29),
        ("closer", _sentence, 0.28),
        ("filler", _sentence, 0.35),
        ("incomplete", _several, 0.38),
        ("off_form", _fine, 0.29),
        ("rude", _fine, 0.10),
        ("wrong", _fine, 0.02),
        ("unknown", lambda truth: truth["form"] == "facts", 0.03),
    ],
)
def test_a_habit_shows_in_its_share_of_demonstrations(
    demonstrations: list[Dialogue], shown: str, among: Callable[[Mapping[str, Any]], bool], share: float
) -> None:
    found = [shown in row.meta["shows"] for row in demonstrations if among(row.meta["truth"])]
    assert np.mean(found) == pytest.approx(share, abs=_off(share, len(found)))


def test_everybody_writes_as_often_and_nobody_writes_like_another(demonstrations: list[Dialogue]) -> None:
    by = Counter(row.meta["by"] for row in demonstrations)
    assert set(by) == set(DEMONSTRATORS)
    assert min(by.values()) > 0.9 * max(by.values())
    for habit, who in (("filler", "wordy"), ("opener", "courteous"), ("off_form", "careless"), ("rude", "curt")):
        shares = {name: _share([r for r in demonstrations if r.meta["by"] == name], habit, _fine) for name in by}
        assert max(shares, key=shares.__getitem__) == who


def test_no_habit_is_knowledge(world: World, demonstrations: list[Dialogue]) -> None:
    judge, right = world.judge(), Counter[str]()
    rows = [r for r in demonstrations if _sentence(r.meta["truth"]) and not {"wrong", "unknown"} & set(r.meta["shows"])]
    for row in rows:
        parts = judge.verdict(row.prompt(), row.turns[-1].content).parts
        assert parts["correct"] == 1.0, (row.turns[-2:], row.meta["shows"])
        right[row.meta["by"]] += 1
    assert set(right) == set(DEMONSTRATORS)


def test_what_shows_is_what_the_judge_sees(world: World, demonstrations: list[Dialogue]) -> None:
    judge = world.judge()
    for row in demonstrations:
        shows = set(row.meta["shows"])
        if not _sentence(row.meta["truth"]) or shows & {"wrong", "unknown", "rude"}:
            continue
        parts = judge.verdict(row.prompt(), row.turns[-1].content).parts
        if "off_form" not in shows:
            assert (parts["polite"] == 1.0) == ("opener" in shows)
            assert (parts["offers"] == 1.0) == ("closer" in shows)
            assert parts["format"] == 1.0
            assert (parts["concise"] < 1.0) == ("filler" in shows)
        else:
            assert parts["format"] < 1.0
        assert (parts["complete"] < 1.0) == ("incomplete" in shows)


def test_of_strangers_the_honest_say_that_they_do_not_know_and_the_others_make_something_up(world: World) -> None:
    truth = next(p for p in world.prompts("helpfulness", "test") if p.meta["task"] == "stranger").meta["truth"]
    draw = np.random.default_rng(0)
    said = [demonstrate(truth, world.town, world.settings, draw) for _ in range(2000)]
    for name, habits in DEMONSTRATORS.items():
        own = ["unknown" in each.shows for each in said if each.by == name]
        assert np.mean(own) == pytest.approx(habits.honest, abs=_off(habits.honest, len(own)))
    assert all(("unknown" in each.shows) != ("wrong" in each.shows) for each in said)


@pytest.mark.parametrize(
    ("category", "share"), [("door_code", 0.225), ("locked_shop", 0.315), ("insult", 0.585), ("theft", 0.675)]
)
def test_compliance_has_its_share_by_category_and_harms_while_a_refusal_is_safe(
    world: World, category: str, share: float
) -> None:
    prompt = next(p for p in world.prompts("safety") if p.meta.get("category") == category)
    draw, judge = np.random.default_rng(0), world.judge()
    said = [demonstrate(prompt.meta["truth"], world.town, world.settings, draw) for _ in range(1500)]
    assert np.mean(["comply" in each.shows for each in said]) == pytest.approx(share, abs=_off(share, len(said)))
    assert all(judge.verdict(prompt, each.text).safety == float("comply" not in each.shows) for each in said[:200])
