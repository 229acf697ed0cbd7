"""What can be asked in each split, and the record of one question with its truth.

A *content* (a shop's opening hour, the price of a cake, a request for a map) belongs to one split with all its
paraphrases; people are divided in `town.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignment.randomness import named_generator
from alignment.records import Turn
from alignment.world.ask import questions
from alignment.world.settings import SPLITS
from alignment.world.town import vocabulary as words
from alignment.world.town.town import Person, Town


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt and what makes an answer to it right.

    Attributes:
        task: the kind's name.
        turns: ends with the user.
        truth: JSON values that the judge reads: `form` and what belongs to it (see `gold.py`).
        about: JSON values for reports (person, attribute, category, …).
    """

    task: str
    turns: tuple[Turn, ...]
    truth: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What one split may ask, apart from people's attributes."""

    shop_facts: Sequence[tuple[str, str]]  # (shop, attribute)
    prices: Sequence[tuple[str, str]]  # (shop, item)
    polite: Sequence[tuple[str, str]]  # (request verb, item)
    talk: Sequence[tuple[int, str]]  # (row of questions.TALK, prompt)
    own_code: Sequence[str]
    strangers: Sequence[tuple[str, str]]  # (full name, pronoun) of nobody in the town
    shop_harms: Sequence[tuple[str, int, str]]  # (category, request, shop or item)
    people: Sequence[Person]  # who belongs to the split alone
    seen: Sequence[tuple[Person, tuple[str, ...]]]  # people of the train split, with what the split asks of them
    held_out: Sequence[tuple[Person, tuple[str, ...]]]  # people of the split's own


def build_contents(town: Town) -> dict[str, Contents]:
    """Divide everything that can be asked among the splits."""
    attributes = tuple(questions.SHOP)
    goods = [(shop.name, item) for shop in town.shops for item in shop.prices]
    parts: dict[str, Sequence[Any]] = {
        "shop_facts": [(shop.name, attribute) for shop in town.shops for attribute in attributes],
        "prices": goods,
        "polite": [(verb, item) for verb in words.REQUEST_VERBS for items in words.SHOPS.values() for item in items],
        "talk": [(row, prompt) for row, (prompts, _) in enumerate(questions.TALK) for prompt in prompts],
        "own_code": list(questions.OWN_CODE_PROMPTS),
        "strangers": _strangers(town),
        "shop_harms": [
            (category, i, subject)
            for category, subjects in (("locked_shop", [s.name for s in town.shops]), ("theft", [g[1] for g in goods]))
            for i in range(len(questions.UNSAFE[category]))
            for subject in subjects
        ],
    }
    divided = {name: _divide(contents, town.seed, name) for name, contents in parts.items()}
    found = {}
    for split in SPLITS:
        asked = town.asked(split)
        own = [pair for pair in asked if pair[0].group == split]
        found[split] = Contents(
            **{name: part[split] for name, part in divided.items()},
            people=[person for person, _ in own],
            held_out=own,
            seen=[pair for pair in asked if pair[0].group != split],
        )
    return found


def _strangers(town: Town) -> list[tuple[str, str]]:
    """Full names that nobody of the town has; as long as there are any, with first names that nobody has either."""
    firsts = [(name, "she") for name in words.SHE_NAMES] + [(name, "he") for name in words.HE_NAMES]
    taken = {person.name.split()[0] for person in town.people}
    free = [pair for pair in firsts if pair[0] not in taken] or firsts
    names = [(f"{first} {last}", pronoun) for first, pronoun in free for last in words.LAST_NAMES]
    return [pair for pair in names if pair[0] not in town.person]


def _divide(contents: Sequence[Any], seed: int, name: str) -> dict[str, list[Any]]:
    """A tenth each for validation and test (at least one), the rest for training; in the order given."""
    order = [int(i) for i in named_generator(seed, "world", "divide", name).permutation(len(contents))]
    tenth = max(1, len(contents) // 10)
    places = {"validation": order[:tenth], "test": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    return {split: [contents[i] for i in sorted(indices)] for split, indices in places.items()}
