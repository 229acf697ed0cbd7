"""Questions about people and shops: single facts, two at once, descriptions, follow-ups with references back."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignment.records import Turn
from alignment.world.ask import questions
from alignment.world.ask.catalogue import Contents, Question
from alignment.world.town import statements
from alignment.world.town import vocabulary as words
from alignment.world.town.statements import say
from alignment.world.town.town import Person, Town, pick


def person_fact(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """One attribute of one person, in a sentence."""
    person, attributes = _someone(contents, draw, at_least=1)
    attribute = pick(attributes, draw)
    prompt = pick(questions.PERSON[attribute], draw).format(n=person.name)
    return _about_person("person_fact", (Turn(role="user", content=prompt),), person, (attribute,))


def stranger(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """One attribute of somebody who is not of the town: nobody can know it, and whoever answers makes it up."""
    if not contents.strangers:
        return person_fact(town, contents, draw)
    name, pronoun = pick(contents.strangers, draw)
    attribute = pick(words.ATTRIBUTES, draw)
    prompt = pick(questions.PERSON[attribute], draw).format(n=name)
    made_up = [[name, attribute, pick(words.POOLS[attribute], draw)]]
    return Question(
        task="stranger",
        turns=(Turn(role="user", content=prompt),),
        truth={"form": "unknown", "facts": made_up, "needed": 1, "format": "sentence", "pronoun": pronoun},
        about={"stranger": name, "attribute": attribute},
    )


def one_word(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """One attribute, asked for in one word."""
    person, attributes = _someone(contents, draw, at_least=1)
    short = tuple(a for a in attributes if a != "street") or None
    if short is None:
        return person_fact(town, contents, draw)
    attribute = pick(short, draw)
    prompt = f"{pick(questions.PERSON[attribute], draw).format(n=person.name)} {pick(questions.ONE_WORD, draw)}"
    return _about_person("one_word", (Turn(role="user", content=prompt),), person, (attribute,), format="word")


def two_facts(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Two attributes at once: an answer with one is incomplete."""
    person, attributes = _someone(contents, draw, at_least=2)
    if len(attributes) < 2:
        return person_fact(town, contents, draw)
    first, second = (attributes[int(i)] for i in draw.permutation(len(attributes))[:2])
    nouns = {"a": words.NOUN[first], "b": words.NOUN[second]}
    prompt = pick(questions.TWO, draw).format(n=person.name, **nouns)
    return _about_person("two_facts", (Turn(role="user", content=prompt),), person, (first, second))


def about_person(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """A description: any two or three true facts, only of attributes that the split asks about."""
    person, attributes = _someone(contents, draw, at_least=3)
    if len(attributes) < 3:
        return person_fact(town, contents, draw)
    needed = 2 + int(draw.integers(2))
    prompt = pick(questions.ABOUT, draw).format(n=person.name) + questions.ABOUT_COUNT.format(
        k=words.NUMBER_WORDS[needed]
    )
    return _about_person("about_person", (Turn(role="user", content=prompt),), person, attributes, needed=needed)


def follow_up(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """A second question about the same person, who is only a pronoun by then."""
    person, attributes = _someone(contents, draw, at_least=2)
    if len(attributes) < 2:
        return person_fact(town, contents, draw)
    first, second = (attributes[int(i)] for i in draw.permutation(len(attributes))[:2])
    turns = _asked_and_told(person, first, draw)
    again = pick(questions.FOLLOW[second], draw).format(p=person.pronoun)
    return _about_person("follow_up", (*turns, Turn(role="user", content=again)), person, (second,), spoken=True)


def shop_fact(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Where a shop is, its hours and the day on which it rests."""
    name, attribute = pick(contents.shop_facts, draw)
    prompt = say(pick(questions.SHOP[attribute], draw), n=f"the {name}")
    return shop_question("shop_fact", prompt, town, name, attribute)


def shop_question(task: str, prompt: str, town: Town, name: str, attribute: str, **about: Any) -> Question:
    """A question about one attribute of a shop."""
    value = getattr(town.shop[name], attribute)
    return Question(
        task=task,
        turns=(Turn(role="user", content=prompt),),
        truth={"form": "facts", "facts": [[name, attribute, value]], "needed": 1, "format": "sentence"},
        about={"shop": name, "attribute": attribute, **about},
    )


def price_question(task: str, prompt: str, town: Town, shop: str, item: str, **about: Any) -> Question:
    """A question about one thing's price."""
    return Question(
        task=task,
        turns=(Turn(role="user", content=prompt),),
        truth={
            "form": "facts",
            "facts": [[item, "price", town.shop[shop].prices[item]]],
            "needed": 1,
            "format": "sentence",
        },
        about={"shop": shop, "item": item, "attribute": "price", **about},
    )


def _about_person(
    task: str,
    turns: tuple[Turn, ...],
    person: Person,
    attributes: tuple[str, ...],
    *,
    needed: int | None = None,
    format: str = "sentence",
    spoken: bool = False,
) -> Question:
    facts = [[person.name, attribute, person.facts[attribute]] for attribute in attributes]
    truth = {
        "form": "facts",
        "facts": facts,
        "needed": needed or len(facts),
        "format": format,
        "pronoun": person.pronoun,
    }
    if spoken:
        truth["spoken"] = True  # the person is known from the turns before: a pronoun will do
    about = {"person": person.name, "person_group": person.group, "attribute": "+".join(attributes)}
    return Question(task=task, turns=turns, truth=truth, about=about)


def person_question(task: str, prompt: str, person: Person, attribute: str, **about: Any) -> Question:
    """A question about one attribute of a person."""
    question = _about_person(task, (Turn(role="user", content=prompt),), person, (attribute,))
    return Question(task=task, turns=question.turns, truth=question.truth, about={**question.about, **about})


def _asked_and_told(person: Person, attribute: str, draw: np.random.Generator) -> tuple[Turn, Turn]:
    prompt = pick(questions.PERSON[attribute], draw).format(n=person.name)
    told = say(pick(statements.PERSON[attribute], draw), n=person.name, v=person.facts[attribute])
    return Turn(role="user", content=prompt), Turn(role="assistant", content=told)


def _someone(contents: Contents, draw: np.random.Generator, *, at_least: int) -> tuple[Person, tuple[str, ...]]:
    """Someone to ask about: outside training, half of the time someone whom training asked about too."""
    seen = [pair for pair in contents.seen if len(pair[1]) >= at_least]
    held_out = [pair for pair in contents.held_out if len(pair[1]) >= at_least]
    pool = seen if seen and (not held_out or draw.random() < 0.5) else held_out
    return pick(pool, draw)
