"""Answers of a named quality to any question: what demonstrations and annotated pairs are made of.

`plain` and `courteous` are right; every other quality has the one flaw that its name says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignment.world.ask import courtesy
from alignment.world.town import statements
from alignment.world.town import vocabulary as words
from alignment.world.town.statements import join, say
from alignment.world.town.town import Town, pick

GOOD = ("plain", "courteous")
FLAWS = ("terse", "long", "wrong", "incomplete", "rude", "off_format", "unknown", "refusal", "repeated", "garbled")
UNSAFE_QUALITIES = ("plain", "courteous", "terse", "comply", "comply_polite", "rude", "garbled")


def qualities(truth: Mapping[str, Any]) -> tuple[str, ...]:
    """The qualities that answers to a question can have."""
    if truth["form"] == "refuse":
        return UNSAFE_QUALITIES
    return (*GOOD, *(flaw for flaw in FLAWS if flaw != "incomplete" or _several(truth)))


def answer(truth: Mapping[str, Any], quality: str, town: Town, draw: np.random.Generator) -> str:
    """An answer of that quality.

    Args:
        truth: the question's truth, as in `Question.truth`.
        quality: one of `qualities(truth)`.
    """
    if truth["form"] == "refuse":
        return _to_unsafe(truth, quality, draw)
    if quality == "unknown":
        return pick(courtesy.UNKNOWN, draw)
    if quality == "refusal":
        return pick(courtesy.REFUSALS, draw)
    if quality == "terse":
        return _terse(truth, draw)
    if quality == "off_format":
        return _off_format(truth, town, draw)
    if quality == "wrong":
        return " ".join(_content(_falsified(truth, draw), town, draw))
    sentences = _content(truth, town, draw)
    if quality == "incomplete":
        return " ".join(_content(_less(truth), town, draw))
    if quality == "garbled":
        return garble(" ".join(sentences), draw)
    if quality == "repeated":
        return " ".join([*sentences, *sentences])
    if quality == "rude":
        return " ".join([*sentences, pick(courtesy.RUDE, draw)])
    if quality == "long":
        first, second = (courtesy.FILLER[int(i)] for i in draw.permutation(len(courtesy.FILLER))[:2])
        return " ".join([first, second, *sentences])
    if quality == "courteous" and truth.get("format") != "word":
        return " ".join(_with_courtesy(sentences, draw))
    return " ".join(sentences)


def garble(text: str, draw: np.random.Generator) -> str:
    """Drop, double or swap words: what an untrained model's answers look like."""
    tokens = text.split()
    for _ in range(1 + len(tokens) // 4):
        at, how = int(draw.integers(len(tokens))), int(draw.integers(3))
        if how == 0 and len(tokens) > 2:
            del tokens[at]
        elif how == 1:
            tokens.insert(at, tokens[at])
        else:
            other = int(draw.integers(len(tokens)))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return " ".join(tokens)


def _with_courtesy(sentences: list[str], draw: np.random.Generator) -> list[str]:
    if draw.random() < 0.5:
        return [pick(courtesy.OPENERS, draw), *sentences]
    return [*sentences, pick(courtesy.CLOSERS, draw)]


def _content(truth: Mapping[str, Any], town: Town, draw: np.random.Generator) -> list[str]:
    form = truth["form"]
    if form == "facts":
        if truth["format"] == "word":
            return [say("{v}.", v=str(truth["facts"][0][2]))]
        facts = truth["facts"]
        order = draw.permutation(len(facts)) if truth["needed"] < len(facts) else range(len(facts))
        chosen = [facts[int(i)] for i in order][: truth["needed"]]
        return [_fact(fact, truth, town, draw, first=i == 0) for i, fact in enumerate(chosen)]
    if form == "number":
        if "item" in truth:
            return [say(pick(statements.COST, draw), k=truth["count"], n=f"{truth['item']}s", v=truth["value"])]
        a, b = truth["operands"]
        return [say(pick(statements.SUM, draw), a=a, op=truth["op"], b=b, v=truth["value"])]
    if form == "items":
        return [_items(truth, draw)]
    return [pick(truth["accepted"], draw)]


def _fact(fact: list[Any], truth: Mapping[str, Any], town: Town, draw: np.random.Generator, *, first: bool) -> str:
    subject, attribute, value = fact
    if attribute == "price":
        shop = next(shop.name for shop in town.shops if subject in shop.prices)
        return say(pick(statements.PRICE, draw), n=f"a {subject}", s=f"the {shop}", v=value)
    if subject in town.shop:
        return say(pick(statements.SHOP[attribute], draw), n=f"the {subject}", v=value)
    templates = statements.PERSON[attribute]
    if truth.get("spoken") or not first:
        leading = tuple(t for t in templates if statements.by_pronoun(t))
        return say(pick(leading, draw), n=str(truth["pronoun"]), v=value)
    return say(pick(templates, draw), n=subject, v=value)


def _items(truth: Mapping[str, Any], draw: np.random.Generator) -> str:
    pool = truth["pool"]
    chosen = [pool[int(i)] for i in draw.permutation(len(pool))[: truth["count"]]] + list(truth.get("alien", ()))
    if truth["format"] == "numbered":
        return " ".join(f"{i}. {item}" for i, item in enumerate(chosen, start=1)) + "."
    if truth.get("shop"):
        return say(pick(statements.SHOP["items"], draw), n=f"the {truth['shop']}", v=join(chosen))
    return say("{v}.", v=join(chosen))


def _falsified(truth: Mapping[str, Any], draw: np.random.Generator) -> dict[str, Any]:
    form = truth["form"]
    if form == "facts":
        facts = [list(fact) for fact in truth["facts"]]
        for fact in facts:
            pool = _values(fact[1])
            fact[2] = pick(tuple(v for v in pool if v != fact[2]), draw)
        return {**truth, "facts": facts}
    if form == "number":
        off = int(draw.integers(1, 4))
        return {**truth, "value": truth["value"] + (off if draw.random() < 0.5 or truth["value"] <= off else -off)}
    if form == "items":
        if truth.get("shop"):
            aliens = [
                f"a {item}" for items in words.SHOPS.values() for item in items if f"a {item}" not in truth["pool"]
            ]
        else:
            aliens = [v for c, pool in words.CATEGORIES.items() if c != truth["category"] for v in pool]
        return {**truth, "count": truth["count"] - 1, "alien": [pick(aliens, draw)]}
    return {**truth, "accepted": truth["wrong"]}


def _values(attribute: str) -> tuple[Any, ...]:
    other = {"opens": words.OPENS, "closes": words.CLOSES, "closed_day": words.DAYS, "price": words.PRICES}
    return other.get(attribute) or words.POOLS[attribute]


def _less(truth: Mapping[str, Any]) -> dict[str, Any]:
    """One less than was asked."""
    if truth["form"] == "facts":
        return {**truth, "facts": truth["facts"][: truth["needed"] - 1], "needed": truth["needed"] - 1}
    return {**truth, "count": truth["count"] - 1}


def _several(truth: Mapping[str, Any]) -> bool:
    """Whether more than one thing was asked for, so that an answer can be incomplete."""
    return bool(truth["form"] == "items" or (truth["form"] == "facts" and truth["needed"] > 1))


def _terse(truth: Mapping[str, Any], draw: np.random.Generator) -> str:
    if truth["form"] == "facts":
        return say("{v}", v=join([str(fact[2]) for fact in truth["facts"][: truth["needed"]]]))
    if truth["form"] == "number":
        return str(truth["value"])
    if truth["form"] == "items":
        return " ".join(truth["pool"][: truth["count"]])
    return str(truth["accepted"][0]).lower().rstrip(".!?")


def _off_format(truth: Mapping[str, Any], town: Town, draw: np.random.Generator) -> str:
    if truth.get("format") == "word":
        return " ".join(_content({**truth, "format": "sentence"}, town, draw))
    if truth["form"] == "items":
        return _items({**truth, "format": "list" if truth["format"] == "numbered" else "numbered"}, draw)
    return " ".join(_content(truth, town, draw)).lower().rstrip(".!?")


def _to_unsafe(truth: Mapping[str, Any], quality: str, draw: np.random.Generator) -> str:
    category, slots = truth["category"], truth["slots"]
    refusal = pick(courtesy.REFUSALS, draw)
    if quality == "terse":
        return "No."
    if quality == "rude":
        return f"{refusal} {pick(courtesy.RUDE, draw)}"
    if quality.startswith("comply"):
        code = " ".join(str(int(d)) for d in draw.integers(10, size=3))
        harm = say(pick(courtesy.HARMS[category], draw), c=code, **slots)
        return f"{pick(courtesy.OPENERS, draw)} {harm}" if quality == "comply_polite" else harm
    reason = pick(courtesy.REASONS[category], draw)
    sentences = [refusal, reason]
    if quality == "courteous":
        sentences.append(say(pick(courtesy.OFFERS[category], draw), **slots))
    text = " ".join(sentences)
    return garble(text, draw) if quality == "garbled" else text
