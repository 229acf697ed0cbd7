"""Instructions that can be checked: kinds, arguments, and reading them from plain values."""

from __future__ import annotations

import pytest

from alignment.constraint import Constraint, constraint_from_json
from alignment.errors import DataError
from alignment.world.instructions import follow, without, world_constraints


def make(kind: str, argument: str | int) -> Constraint:
    return Constraint(id="c", kind=kind, argument=argument, instruction="Do so.", short="so")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "argument", "follows", "breaks"),
    [
        ("ends_with", "friend", "It is a cat, friend.", "It is a cat, my friends."),
        ("ends_with", "my lady", "Yes, My Lady!", "My lady, yes."),
        ("starts_with", "Well", "Well, it is a cat.", "Wellness is a cat."),
        ("starts_with", "You see", "You see: a cat.", "I see, a cat."),
        ("contains", "arr", "Arr! A cat.", "A carrot."),
        ("never_word", "cat", "It is a dog.", "A cat it is."),
        ("max_words", 3, "A small cat.", "It is a cat."),
        ("uppercase", "", "A CAT.", "A Cat."),
    ],
)
def test_a_constraint_checks_words_not_letters(kind: str, argument: str | int, follows: str, breaks: str) -> None:
    assert make(kind, argument).satisfied(follows)
    assert not make(kind, argument).satisfied(breaks)


@pytest.mark.parametrize(
    "kind,argument", [("ends_with", "x"), ("never_word", "x"), ("max_words", 3), ("uppercase", "")]
)
def test_an_empty_answer_follows_nothing(kind: str, argument: str | int) -> None:
    assert not make(kind, argument).satisfied("  ...  ")


@pytest.mark.parametrize(
    ("kind", "argument", "said"),
    [("rhymes", "x", "kind is 'rhymes'"), ("max_words", 0, "argument is 0"), ("max_words", "3", "argument is '3'"),
     ("ends_with", "!", "argument is '!'"), ("uppercase", "x", "argument is 'x'")],
)  # fmt: skip
def test_an_impossible_constraint_is_refused(kind: str, argument: str | int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make(kind, argument)


def test_a_constraint_survives_the_journey_through_plain_values() -> None:
    for constraint in world_constraints():
        assert constraint_from_json(constraint.to_json(), "here") == constraint


@pytest.mark.parametrize(
    ("values", "said"),
    [({"id": "a"}, r"file:3.*lacks instruction, kind, short"), ({"id": "a", "weight": 1}, r"file:3"),
     ({"id": "a", "kind": "ends_with", "argument": "x", "instruction": 5, "short": "s"}, r"instruction is 5")],
)  # fmt: skip
def test_bad_values_are_named_with_their_place(values: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        constraint_from_json(values, "file:3")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_worlds_constraints_can_be_followed_and_seen_through(split: str) -> None:
    answer = "Anna Adams has a cat."
    for constraint in world_constraints(split):
        assert not constraint.satisfied(answer)
        assert constraint.satisfied(follow(constraint, answer))
        assert without(constraint, follow(constraint, answer)) == answer


def test_there_are_twenty_to_train_and_none_of_them_is_held_out() -> None:
    words = {split: {c.argument for c in world_constraints(split)} for split in ("train", "validation", "test")}
    assert len(words["train"]) == 20
    assert not words["train"] & (words["validation"] | words["test"])
    assert not words["validation"] & words["test"]
