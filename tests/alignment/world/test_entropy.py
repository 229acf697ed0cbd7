"""The bits that the world computes agree with a count on a large sample."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.world import World, WorldSettings
from alignment.world.town import statements
from alignment.world.town.documents import biography, register_text
from alignment.world.town.entropy import counted_entropy, person_bits, world_bits
from alignment.world.town.statements import say
from alignment.world.town.vocabulary import ATTRIBUTES, NOUN


def test_the_facts_of_a_large_town_hold_the_bits_that_are_computed() -> None:
    town = World(WorldSettings(size="hours")).town
    counted = sum(counted_entropy(p.facts[a] for p in town.people) for a in ATTRIBUTES)
    assert counted == pytest.approx(person_bits(), rel=0.003)
    # two attributes together hold the sum of both: they are independent
    jobs_and_pets = counted_entropy((p.facts["job"], p.facts["pet"]) for p in town.people)
    apart = counted_entropy(p.facts["job"] for p in town.people) + counted_entropy(p.facts["pet"] for p in town.people)
    assert jobs_and_pets == pytest.approx(apart, rel=0.01)
    assert world_bits(town).people == pytest.approx(4000 * person_bits())


def test_biographies_hold_the_bits_that_are_computed() -> None:
    """The choices are read back from the texts: whom, the order, each wording, and names or pronouns."""
    town = World(WorldSettings(size="seconds")).town
    draw = np.random.default_rng(0)
    people, orders, wordings, repeats = [], [], {a: [] for a in ATTRIBUTES}, []
    for _ in range(20_000):
        text = biography(town, draw)
        person = next(p for p in town.people if p.name in text)
        order, by_name, by_pronoun = [], False, False
        for place, sentence in enumerate(text.removesuffix(".").split(". ")):
            for attribute, subject, number in _readings(town, person, f"{sentence}."):
                order.append(attribute)
                wordings[attribute].append(number)
                if place and statements.by_pronoun(statements.PERSON[attribute][number]):
                    by_name, by_pronoun = by_name or subject == person.name, by_pronoun or subject != person.name
        assert len(order) == len(ATTRIBUTES)
        people.append(person.name)
        orders.append(tuple(order))
        repeats.append("name" if by_name else "pronoun" if by_pronoun else "hidden")
    shown = [r for r in repeats if r != "hidden"]
    counted = counted_entropy(people) + counted_entropy(orders) + sum(map(counted_entropy, wordings.values()))
    counted += counted_entropy(shown) * len(shown) / len(repeats)
    assert counted == pytest.approx(world_bits(town).biography, rel=0.002)


_CACHE: dict[tuple[str, str], tuple[str, str, int]] = {}


def _readings(town: object, person: object, sentence: str) -> list[tuple[str, str, int]]:
    """The one way in which a sentence of a person's biography is said."""
    key = (person.name, sentence)  # type: ignore[attr-defined]
    if key not in _CACHE:
        found = [
            (attribute, subject, i)
            for attribute, templates in statements.PERSON.items()
            for i, template in enumerate(templates)
            for subject in (person.name, person.pronoun)  # type: ignore[attr-defined]
            if say(template, n=subject, v=person.facts[attribute]) == sentence  # type: ignore[attr-defined]
        ]
        assert len(found) == 1, (sentence, found)
        _CACHE[key] = found[0]
    return [_CACHE[key]]


def test_the_register_tells_all_six_facts_of_one_person_and_nothing_false() -> None:
    town = World(WorldSettings(size="seconds")).town
    draw = np.random.default_rng(0)
    for _ in range(50):
        name, *entries = register_text(town, draw).removesuffix(".").split(". ")
        told = dict(entry.lower().split(": ") for entry in entries)
        assert told == {NOUN[a]: value.lower() for a, value in town.person[name].facts.items()}
