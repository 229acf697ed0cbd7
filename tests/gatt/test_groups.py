"""Instructions by what training has seen of them, and joined at random where an answer can keep both."""

from __future__ import annotations

import pytest

from alignment.clash import clash
from alignment.constraint import Constraint, combine
from alignment.errors import DataError
from alignment.rules import Argument, Rule
from gatt.groups import (
    SEEN,
    SEEN_COMBINATIONS,
    UNSEEN_COMBINATIONS,
    UNSEEN_KINDS,
    UNSEEN_VALUES,
    group_constraints,
    kind_pairs,
    training_constraints,
)
from gatt.kinds import kind_constraints


def made(kind: Rule, argument: Argument = "") -> Constraint:
    return Constraint(id=f"{kind}-{argument}", kind=kind, argument=argument, instruction=f"{kind}!", short="x")


ENDS, STARTS, BRIEF = made("ends_with", "sir"), made("starts_with", "well"), made("max_words", 9)


def test_held_out_instructions_are_grouped_by_what_is_new_in_them() -> None:
    others = [made("ends_with", "boss"), made("quoted"), combine([ENDS, BRIEF]), combine([ENDS, made("no_comma")])]
    found = group_constraints([ENDS, STARTS, BRIEF], others, combine_share=0.0, seed=0)
    assert found[SEEN] == [ENDS, STARTS, BRIEF]
    assert found[UNSEEN_VALUES] == [others[0]]
    assert others[2] in found[UNSEEN_COMBINATIONS]
    assert found[UNSEEN_KINDS] == [others[1], others[3]]
    assert SEEN_COMBINATIONS not in found


def test_what_is_trained_cannot_be_held_out_in_other_words() -> None:
    same = Constraint(id="other", kind="ends_with", argument="Sir!", instruction="Say sir last.", short="sir")
    with pytest.raises(DataError, match=r"'other' asks for what 'ends_with-sir' asks for, which is trained"):
        group_constraints([ENDS], [same], combine_share=0.0, seed=0)


def test_training_never_joins_the_kinds_that_are_held_out_as_combinations() -> None:
    train, held_out = kind_constraints()
    trained, apart = kind_pairs(train, seed=3)
    assert set(trained).isdisjoint(apart)
    given = training_constraints(train, count=400, combine_share=0.5, seed=3)
    joined = [constraint for constraint in given if constraint.parts]
    assert len(given) == 400
    assert 150 < len(joined) < 250
    assert {constraint.kinds for constraint in joined} <= set(trained)
    groups = group_constraints(train, held_out, combine_share=0.5, seed=3)
    assert {constraint.kinds for constraint in groups[UNSEEN_COMBINATIONS]} == set(apart)
    assert {constraint.kinds for constraint in groups[SEEN_COMBINATIONS]} <= set(trained)
    for constraint in (*joined, *groups[UNSEEN_COMBINATIONS]):
        one, other = constraint.parts
        assert clash((one.kind, one.argument), (other.kind, other.argument)) == ""


def test_nothing_is_combined_unless_it_is_asked_for() -> None:
    assert training_constraints([ENDS, STARTS], count=9, combine_share=0.0, seed=0) == [ENDS, STARTS]


def test_instructions_that_cannot_be_joined_are_told() -> None:
    pattern = made("pattern", "a+")
    with pytest.raises(DataError, match=r"gatt\.combine asks .* no two of these can be"):
        training_constraints([ENDS, made("ends_with", "boss"), pattern], count=4, combine_share=0.5, seed=0)
