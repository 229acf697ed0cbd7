"""The instructions of every kind: in several wordings, told apart by kind and by value, none trained and held out."""

from __future__ import annotations

from alignment.text.chat import marker_in
from gatt.groups import require_apart
from gatt.kinds import FAMILIES, kind_constraints, unseen_kinds


def test_there_are_many_kinds_some_of_them_never_trained() -> None:
    assert len({family.kind for family in FAMILIES}) == len(FAMILIES) >= 12
    assert sum(not family.trained for family in FAMILIES) >= 5


def test_every_instruction_has_several_wordings_and_a_terse_one() -> None:
    train, held_out = kind_constraints()
    for constraint in (*train, *held_out):
        assert len(set(constraint.wordings)) >= 3
        assert all(len(constraint.short) < len(wording) for wording in constraint.wordings)
        assert not any(marker_in(text) for text in (*constraint.wordings, constraint.short))
    assert len({constraint.id for constraint in (*train, *held_out)}) == len(train) + len(held_out)


def test_what_is_held_out_is_trained_neither_in_value_nor_in_kind() -> None:
    train, held_out = kind_constraints()
    require_apart(train, held_out)
    trained = {constraint.kind for constraint in train}
    assert trained.isdisjoint(family.kind for family in FAMILIES if not family.trained)
    assert {constraint.kind for constraint in unseen_kinds({"lowercase"})}.isdisjoint(trained | {"lowercase"})
