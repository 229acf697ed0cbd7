"""How many bits the world holds: its facts (in the manner of bioS), and its texts given the facts.

A count on a large sample confirms both (tests): the values of a large town, and the choices read back
from many biographies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import comb, log2

from alignment.world.settings import WorldSettings
from alignment.world.town import vocabulary as words
from alignment.world.town.documents import biography_bits
from alignment.world.town.town import Town


@dataclass(frozen=True, kw_only=True)
class WorldBits:
    """Bits that a model must hold to know the town, and bits of saying it.

    Attributes:
        names: which full names there are: log2 of the choice of N from all pairs of first and last name.
        people: the people's attributes, uniform and independent.
        shops: the shops' places, hours, closed days, goods and prices.
        biography: entropy of one biography given the town (whom, order, wording), before the split by text.
    """

    names: float
    people: float
    shops: float
    biography: float

    @property
    def facts(self) -> float:
        """All that is to be known."""
        return self.names + self.people + self.shops


def person_bits() -> float:
    """Bits of one person's six attributes."""
    return sum(log2(len(pool)) for pool in words.POOLS.values())


def world_bits(town: Town) -> WorldBits:
    """The bits of a town."""
    firsts = len(words.SHE_NAMES) + len(words.HE_NAMES)
    shop = sum(log2(len(pool)) for pool in (words.POOLS["street"], words.OPENS, words.CLOSES, words.DAYS))
    shop += log2(comb(4, 3)) + 3 * log2(len(words.PRICES))
    number = len(town.people)
    return WorldBits(
        names=log2(comb(firsts * len(words.LAST_NAMES), number)),
        people=number * person_bits(),
        shops=log2(comb(len(words.SHOPS), len(town.shops))) + len(town.shops) * shop,
        biography=biography_bits(number),
    )


def expected_exposures(settings: WorldSettings) -> float:
    """How often each fact of a person is told in the training corpus (in biographies alone)."""
    return float(settings.biographies_per_person)


def counted_entropy(values: Iterable[Hashable]) -> float:
    """Entropy of a sample in bits: the plug-in estimate with the Miller-Madow correction."""
    found = Counter(values)
    total = found.total()
    plug_in = -sum(n / total * log2(n / total) for n in found.values())
    return plug_in + (len(found) - 1) / (2 * total) * log2(2.718281828459045)
