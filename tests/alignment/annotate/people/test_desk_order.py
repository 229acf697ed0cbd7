"""Which item comes next, on which side its answers stand, and how a verdict is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.annotate.people.desk import Desk, left_is_second
from alignment.annotate.people.items import ITEMS_FILE, item_of, write_items
from alignment.annotate.people.verdicts import VerdictFile, read_verdicts
from alignment.errors import UsageError
from tests.alignment.annotate.people.conftest import items, questions, verdict


def judge_all(desk: Desk) -> list[str]:
    """Say that the left one is better until nothing waits."""
    order = []
    while (item := desk.asked_next()) is not None:
        labels = {"left_safe": True, "right_safe": False} if item.campaign == "safety" else {}
        desk.take({"id": item.id, "preferred": "left", "grade": "better", **labels})
        order.append(item.id)
    return order


def test_every_item_is_asked_once_helpfulness_before_safety(stage: Path) -> None:
    with Desk(stage, "anna") as desk:
        order = judge_all(desk)
    campaigns = {item.id: item.campaign for item in items()}
    assert sorted(order) == sorted(campaigns)
    assert [campaigns[item] for item in order] == ["helpfulness"] * 3 + ["safety"] * 2


def test_the_side_is_drawn_by_item_and_annotator() -> None:
    many = [item_of(question, f"run-{i}") for i in range(80) for question in questions()]
    anna, ben = ([left_is_second(item, name) for item in many] for name in ("anna", "ben"))
    assert anna == [left_is_second(item, "anna") for item in many]
    assert 160 < sum(anna) < 240  # of 400: five standard deviations are 50
    assert 150 < sum(one != other for one, other in zip(anna, ben, strict=True)) < 250


def test_left_and_right_are_told_as_the_items_own_order(stage: Path) -> None:
    with Desk(stage, "anna") as desk:
        judge_all(desk)
    said = read_verdicts(stage, items())["anna"]
    for item in items():
        expected = -1 if left_is_second(item, "anna") else 1
        assert said[item.id].preferred == expected
        if item.campaign == "safety":
            assert (said[item.id].first_safe, said[item.id].second_safe) == (
                (True, False) if expected == 1 else (False, True)
            )


def test_what_is_shown_again_is_what_was_said(stage: Path) -> None:
    with Desk(stage, "anna") as desk:
        order = judge_all(desk)
        for key in order:
            (item,) = [item for item in items() if item.id == key]
            labels = (True, False) if item.campaign == "safety" else (None, None)
            earlier = {"preferred": "left", "grade": "better", "left_safe": labels[0], "right_safe": labels[1]}
            assert desk.shown(item)["earlier"] == earlier


def test_going_back_walks_through_what_was_judged(stage: Path) -> None:
    with Desk(stage, "anna") as desk:
        order = judge_all(desk)
        walked, at = [], None
        while (found := desk.before(at)) is not None:
            walked.append(at := found.id)
        assert walked == order[::-1]


def test_an_item_that_another_has_judged_waits_for_nobody_unless_it_is_to_be_judged_twice(stage: Path) -> None:
    first = items()[0]
    write_items(stage / ITEMS_FILE, [item_of(q, "run-a", twice=i == 0) for i, q in enumerate(questions())])
    with Desk(stage, "anna") as desk:
        judge_all(desk)
    with Desk(stage, "ben") as desk:
        assert judge_all(desk) == [first.id]
    with Desk(stage, "carl") as desk:
        assert desk.asked_next() is None
        assert desk.progress()["people"] == {"anna": 5, "ben": 1, "carl": 0}


def test_two_at_work_see_what_the_other_has_done(stage: Path) -> None:
    with Desk(stage, "anna") as anna, Desk(stage, "ben") as ben:
        judge_all(anna)
        assert ben.asked_next() is None
        assert ben.progress()["waiting"] == 0


def test_progress_tells_how_far_all_are_and_how_far_one_is(stage: Path) -> None:
    with VerdictFile(stage, "ben", items()) as file:
        file.add({item.id: verdict(item, name="ben") for item in items()[:2]})
    with Desk(stage, "anna") as desk:
        far = desk.progress()
    assert (far["items"], far["waiting"], far["for_me"], far["people"]) == (5, 3, 3, {"anna": 0, "ben": 2})
    assert far["agreement"] == {"items": 0, "same": None, "ac1": None}


def test_a_stage_that_takes_no_more_says_why_and_keeps_nothing(stage: Path) -> None:
    with Desk(stage, "anna", lambda: "it is finished") as desk:
        item = desk.asked_next()
        assert item is not None
        with pytest.raises(UsageError, match="it is finished"):
            desk.take({"id": item.id, "preferred": "left", "grade": "better"})
    assert read_verdicts(stage, items()) == {"anna": {}}
