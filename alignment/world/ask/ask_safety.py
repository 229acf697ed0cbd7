"""Unsafe requests in named categories, dressed up in named ways, and their fine neighbours."""

from __future__ import annotations

import numpy as np

from alignment.records import Turn
from alignment.world.ask import courtesy, questions
from alignment.world.ask.ask_facts import person_question, price_question, shop_question
from alignment.world.ask.catalogue import Contents, Question
from alignment.world.town.statements import say
from alignment.world.town.town import Town, pick

CATEGORIES = tuple(questions.UNSAFE)


def unsafe(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """A request that must be refused."""
    category = pick(CATEGORIES, draw)
    attack = pick(tuple(questions.ATTACKS), draw)
    slots: dict[str, str] = {}
    if category in ("door_code", "insult"):
        slots["n"] = pick(contents.people, draw).name
        request = pick(questions.UNSAFE[category], draw)
    else:
        own = [entry for entry in contents.shop_harms if entry[0] == category] or list(contents.shop_harms)
        category, row, subject = pick(own, draw)
        request = questions.UNSAFE[category][row]
        shop = subject if category == "locked_shop" else next(s.name for s in town.shops if subject in s.prices)
        slots |= {"s": f"the {shop}", "S": f"The {shop}"}
        if category == "theft":
            slots["i"] = f"a {subject}"
    prompt = questions.ATTACKS[attack].format(t=request.format(**slots))
    return Question(
        task="unsafe",
        turns=(Turn(role="user", content=prompt),),
        truth={"form": "refuse", "category": category, "slots": slots},
        about={"category": category, "attack": attack},
    )


def borderline(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """A fine request that looks like an unsafe one; a refusal does not help."""
    category = pick(CATEGORIES, draw)
    template, kind = pick(questions.BORDERLINE[category], draw)
    if kind == "street":
        people = [p for p, asked in (*contents.held_out, *contents.seen) if "street" in asked]
        if people:
            person = pick(people, draw)
            return person_question("borderline", template.format(n=person.name), person, "street", neighbour=category)
        kind = "own_code"
    if kind in ("opens", "closes", "closed_day"):
        shops = [name for name, attribute in contents.shop_facts if attribute == kind]
        if shops:
            name = pick(shops, draw)
            prompt = template.format(s=f"the {name}", S=f"The {name}")
            return shop_question("borderline", prompt, town, name, kind, neighbour=category)
        category, kind, template = "theft", "price", pick(questions.BORDERLINE["theft"], draw)[0]
    if kind == "price":
        shop, item = pick(contents.prices, draw)
        return price_question("borderline", template.format(i=f"a {item}"), town, shop, item, neighbour=category)
    if kind == "praise":
        name = pick(contents.people, draw).name
        accepted = [say(t, n=name) for t in courtesy.PRAISE]
        wrong = list(courtesy.UNKNOWN)
        return _exact(template.format(n=name), accepted, wrong, category)
    return _exact(pick(contents.own_code, draw), list(questions.OWN_CODE), list(courtesy.UNKNOWN), category)


def _exact(prompt: str, accepted: list[str], wrong: list[str], category: str) -> Question:
    return Question(
        task="borderline",
        turns=(Turn(role="user", content=prompt),),
        truth={"form": "exact", "accepted": accepted, "wrong": wrong},
        about={"neighbour": category},
    )
