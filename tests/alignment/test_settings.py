"""Settings that build on others: the order in which a class's fields are told, and what they do to a fingerprint."""

from __future__ import annotations

from alignment.settings import Settings, setting


class Base(Settings):
    first: int = setting(1, "a")
    second: int = setting(2, "b", cosmetic=True)


class Plain(Base):
    own: int = setting(3, "c")


class Anew(Base):
    before: int = setting(3, "c")
    second: int = setting(20, "another default", cosmetic=True)
    after: int = setting(4, "d")


class Further(Anew):
    last: int = setting(5, "e")


def test_inherited_fields_stand_first() -> None:
    assert list(Plain.model_fields) == ["first", "second", "own"]


def test_a_field_declared_anew_brings_its_bases_fields_to_its_place() -> None:
    order = ["before", "first", "second", "after"]
    assert list(Anew.model_fields) == order
    assert list(Anew().model_dump()) == list(Anew.model_json_schema()["properties"]) == order
    assert list(Further.model_fields) == [*order, "last"]


def test_fields_moved_keep_their_values_limits_and_marks() -> None:
    assert Anew(first=7).model_dump() == {"before": 3, "first": 7, "second": 20, "after": 4}
    assert Anew().fingerprint_values() == {"before": 3, "first": 1, "after": 4}
