"""The town itself: its people and shops, drawn from one seed, and who may be asked about in which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from alignment.randomness import named_generator
from alignment.world.settings import WorldSettings
from alignment.world.town import vocabulary as words

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person; `facts` maps each attribute to its value."""

    name: str
    pronoun: str  # "he" or "she"
    facts: Mapping[str, str]
    group: str  # "train", "validation" or "test": the split in which all questions about the person are
    held_out: Mapping[str, str]  # of a person of group "train": attribute -> the other split it is asked in


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One shop; hours are o'clock, prices are coins."""

    name: str
    street: str
    opens: int
    closes: int
    closed_day: str
    prices: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Town:
    """Everything that is true."""

    people: tuple[Person, ...]
    shops: tuple[Shop, ...]
    seed: int
    person: Mapping[str, Person] = field(repr=False)  # by full name
    shop: Mapping[str, Shop] = field(repr=False)  # by name

    def asked(self, split: str) -> list[tuple[Person, tuple[str, ...]]]:
        """Whom a split asks about, and which of the person's attributes: disjoint between splits."""
        found = []
        for person in self.people:
            if person.group == split:
                attributes = tuple(a for a in words.ATTRIBUTES if a not in person.held_out)
            else:
                attributes = tuple(a for a in words.ATTRIBUTES if person.held_out.get(a) == split)
            if attributes:
                found.append((person, attributes))
        return found


def build_town(settings: WorldSettings) -> Town:
    """Draw people and shops.

    Values are uniform and independent; names are drawn without replacement, first names as evenly as
    the number of people allows, so that a first name is unique in a town of at most 100.  Eleven in
    sixteen people are asked about in training; of each of these, one attribute is kept for validation and
    one for test.  The others are asked about in validation (an eighth of all) or test only.
    """
    draw = named_generator(settings.seed, "world", "town")
    people = _people(settings.people, draw)
    kinds = list(words.SHOPS)
    number = min(len(kinds), max(4, settings.people // 8))
    shops = []
    for i in sorted(int(k) for k in draw.permutation(len(kinds))[:number]):
        sold = [words.SHOPS[kinds[i]][int(k)] for k in sorted(draw.permutation(4)[:3])]
        shops.append(
            Shop(
                name=kinds[i],
                street=pick(words.POOLS["street"], draw),
                opens=pick(words.OPENS, draw),
                closes=pick(words.CLOSES, draw),
                closed_day=pick(words.DAYS, draw),
                prices={item: pick(words.PRICES, draw) for item in sold},
            )
        )
    return Town(
        people=people,
        shops=tuple(shops),
        seed=settings.seed,
        person={person.name: person for person in people},
        shop={shop.name: shop for shop in shops},
    )


def _people(number: int, draw: np.random.Generator) -> tuple[Person, ...]:
    firsts = [(name, "she") for name in words.SHE_NAMES] + [(name, "he") for name in words.HE_NAMES]
    order = [int(i) for i in draw.permutation(len(firsts))]
    # a round gives each first name once; rounds shift the last names, so that no full name comes twice
    lasts = [int(i) for i in draw.permutation(len(words.LAST_NAMES))]
    groups = ["train"] * (number * 11 // 16)
    groups += ["validation"] * max(1, number // 8)
    groups += ["test"] * (number - len(groups))
    group_order = draw.permutation(number)
    people = []
    for k in range(number):
        turn, place = divmod(k, len(firsts))
        first, pronoun = firsts[order[place]]
        last = words.LAST_NAMES[lasts[(place + turn) % len(lasts)]]
        group = groups[int(group_order[k])]
        kept = [words.ATTRIBUTES[int(i)] for i in draw.permutation(len(words.ATTRIBUTES))[:2]]
        people.append(
            Person(
                name=f"{first} {last}",
                pronoun=pronoun,
                facts={attribute: pick(pool, draw) for attribute, pool in words.POOLS.items()},
                group=group,
                held_out={kept[0]: "validation", kept[1]: "test"} if group == "train" else {},
            )
        )
    return tuple(people)


def pick(pool: Sequence[T], draw: np.random.Generator) -> T:
    """One of the pool, each as likely as the other."""
    return pool[int(draw.integers(len(pool)))]
