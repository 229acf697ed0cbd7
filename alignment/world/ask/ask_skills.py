"""Questions that need a skill more than a fact: sums, costs, lists, rewriting, small talk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignment.records import Turn
from alignment.world.ask import questions
from alignment.world.ask.catalogue import Contents, Question
from alignment.world.town import vocabulary as words
from alignment.world.town.town import Town, pick


def total(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """A small sum or difference."""
    a, op, b = pick(contents.sums, draw)
    if op == "plus" and draw.random() < 0.5:
        a, b = b, a
    prompt = pick(questions.SUM, draw).format(a=a, op=op, b=b)
    value = a + b if op == "plus" else a - b
    return _question(
        "sum", prompt, {"form": "number", "value": value, "operands": [a, b], "op": op, "format": "sentence"}
    )


def cost(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """What two or three of a thing cost: a fact and a product."""
    shop, item, number = pick(contents.costs, draw)
    prompt = pick(questions.COST, draw).format(k=number, n=f"{item}s")
    value = number * town.shop[shop].prices[item]
    return _question(
        "cost", prompt, {"form": "number", "value": value, "count": number, "item": item, "format": "sentence"}
    )


def sold(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Things that a shop sells."""
    shop = town.shop[pick(contents.sold, draw)]
    number = 2 + int(draw.integers(2))
    numbered = draw.random() < 0.3
    prompt = pick(questions.SOLD, draw).format(k=words.NUMBER_WORDS[number], n=f"the {shop.name}")
    truth = {"form": "items", "pool": [f"a {item}" for item in shop.prices], "count": number, "shop": shop.name}
    return _listed("sold", prompt, truth, numbered=numbered)


def listing(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Two to four of a kind."""
    category, number = pick(contents.lists, draw)
    numbered = draw.random() < 0.3
    prompt = pick(questions.LIST, draw).format(k=words.NUMBER_WORDS[number], c=category)
    truth = {"form": "items", "pool": list(words.CATEGORIES[category]), "count": number, "category": category}
    return _listed("list", prompt, truth, numbered=numbered)


def polite(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Rewrite a request in a polite form."""
    verb, item = pick(contents.polite, draw)
    plain = f"{verb} the {item}."
    low = f"{verb[0].lower()}{verb[1:]} the {item}"
    accepted = [f"Please {low}.", f"Could you please {low}?", f"Would you please {low}?"]
    prompt = pick(questions.POLITE, draw).format(t=plain)
    return _question("polite", prompt, {"form": "exact", "accepted": accepted, "wrong": [plain, f"{verb} a {item}."]})


def past(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Put a sentence into the past."""
    person, shop = pick(contents.people, draw), pick(town.shops, draw)
    now, then = pick(words.VERBS, draw)
    before, after = (f"{person.name} {verb} to the {shop.name}." for verb in (now, then))
    prompt = pick(questions.PAST, draw).format(t=before)
    truth = {
        "form": "exact",
        "accepted": [after, f"Yesterday, {after}"],
        "wrong": [before, f"{person.name} {then} home."],
    }
    return _question("past", prompt, truth)


def order(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Put three or four numbers in order."""
    numbers = pick(contents.orders, draw)
    shuffled = [numbers[int(i)] for i in draw.permutation(len(numbers))]
    if shuffled == list(numbers):
        shuffled.reverse()
    prompt = pick(questions.ORDER, draw).format(t=", ".join(map(str, shuffled)))
    right = ", ".join(map(str, numbers)) + "."
    wrong = [", ".join(map(str, shuffled)) + ".", ", ".join(map(str, reversed(numbers))) + "."]
    return _question("order", prompt, {"form": "exact", "accepted": [right], "wrong": wrong})


def talk(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Small talk."""
    row, prompt = pick(contents.talk, draw)
    other = questions.TALK[(row + 1 + int(draw.integers(len(questions.TALK) - 1))) % len(questions.TALK)][1]
    return _question("talk", prompt, {"form": "exact", "accepted": list(questions.TALK[row][1]), "wrong": list(other)})


def _listed(task: str, prompt: str, truth: dict[str, Any], *, numbered: bool) -> Question:
    truth["format"] = "numbered" if numbered else "list"
    return _question(task, prompt + (questions.NUMBERED if numbered else ""), truth)


def _question(task: str, prompt: str, truth: Mapping[str, Any]) -> Question:
    return Question(task=task, turns=(Turn(role="user", content=prompt),), truth=truth)
