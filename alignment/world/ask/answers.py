"""Answers of a named quality to any question: what annotated pairs and tests are made of, and the pieces of answers.

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
    if truth["form"] == "unknown":
        return (*GOOD, "long", "wrong", "rude", "refusal", "repeated", "garbled")
    return (*GOOD, *(flaw for flaw in FLAWS if flaw != "incomplete" or several(truth)))


def answer(truth: Mapping[str, Any], quality: str, town: Town, draw: np.random.Generator) -> str:
    """An answer of that quality.

    Args:
        truth: the question's truth, as in `Question.truth`.
        quality: one of `qualities(truth)`.
    """
    if truth["form"] == "refuse":
        return _to_unsafe(truth, quality, draw)
    if quality == "unknown":
        return unknown(truth, draw)
    if quality == "refusal":
        return pick(courtesy.REFUSALS, draw)
    if quality == "terse":
        return terse(truth)
    if quality == "off_format":
        return off_form(truth, town, draw)
    if quality == "wrong":
        return " ".join(content(falsified(truth, draw), town, draw))
    if quality == "incomplete":
        return " ".join(content(less(truth), town, draw))
    kindly = quality == "courteous"
    sentences = [unknown(truth, draw, kindly=kindly)] if truth["form"] == "unknown" else content(truth, town, draw)
    if quality == "garbled":
        return garble(" ".join(sentences), draw)
    if quality == "repeated":
        return " ".join([*sentences, *sentences])
    if quality == "rude":
        return " ".join([*sentences, pick(courtesy.RUDE, draw)])
    if quality == "long":
        first, second = (courtesy.FILLER[int(i)] for i in draw.permutation(len(courtesy.FILLER))[:2])
        return " ".join([first, second, *sentences])
    if kindly and takes_courtesy(truth):
        opener = [pick(courtesy.OPENERS, draw)] if truth["form"] != "unknown" else []
        return " ".join([*opener, *sentences, pick(courtesy.CLOSERS, draw)])
    return " ".join(sentences)


def takes_courtesy(truth: Mapping[str, Any]) -> bool:
    """Whether courtesy has a place: not in one word, and not where the wording itself was asked for."""
    return truth.get("format") != "word" and truth["form"] != "exact"


def unknown(truth: Mapping[str, Any], draw: np.random.Generator, *, kindly: bool | None = None) -> str:
    """ "I do not know", in the form that was asked for.

    Args:
        kindly: with regret or without; None: either.
    """
    if truth.get("format") == "word":
        return courtesy.UNKNOWN_WORD
    plain = courtesy.UNKNOWN[: -len(courtesy.UNKNOWN_KINDLY)]
    return pick(courtesy.UNKNOWN if kindly is None else courtesy.UNKNOWN_KINDLY if kindly else plain, draw)


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


def content(truth: Mapping[str, Any], town: Town, draw: np.random.Generator) -> list[str]:
    """What the truth says, in sentences; of somebody whom nobody knows, what is made up there."""
    if truth["form"] == "exact":
        return [pick(truth["accepted"], draw)]
    if truth["format"] == "word":
        return [say("{v}.", v=str(truth["facts"][0][2]))]
    facts = truth["facts"]
    order = draw.permutation(len(facts)) if truth["needed"] < len(facts) else range(len(facts))
    chosen = [facts[int(i)] for i in order][: truth["needed"]]
    return [_fact(fact, truth, town, draw, first=i == 0) for i, fact in enumerate(chosen)]


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


def falsified(truth: Mapping[str, Any], draw: np.random.Generator) -> dict[str, Any]:
    """The truth with every fact wrong; of somebody whom nobody knows, as it is made up."""
    if truth["form"] == "unknown":
        return {**truth, "form": "facts"}
    if truth["form"] == "exact":
        return {**truth, "accepted": truth["wrong"]}
    facts = [list(fact) for fact in truth["facts"]]
    for fact in facts:
        fact[2] = pick(tuple(v for v in _values(fact[1]) if v != fact[2]), draw)
    return {**truth, "facts": facts}


def _values(attribute: str) -> tuple[Any, ...]:
    other = {"opens": words.OPENS, "closes": words.CLOSES, "closed_day": words.DAYS, "price": words.PRICES}
    return other.get(attribute) or words.POOLS[attribute]


def less(truth: Mapping[str, Any]) -> dict[str, Any]:
    """One less than was asked."""
    return {**truth, "facts": truth["facts"][: truth["needed"] - 1], "needed": truth["needed"] - 1}


def several(truth: Mapping[str, Any]) -> bool:
    """Whether more than one thing was asked for, so that an answer can be incomplete."""
    return bool(truth["form"] == "facts" and truth["needed"] > 1)


def terse(truth: Mapping[str, Any]) -> str:
    """The bare values."""
    if truth["form"] == "facts":
        return say("{v}", v=join([str(fact[2]) for fact in truth["facts"][: truth["needed"]]]))
    return str(truth["accepted"][0]).lower().rstrip(".!?")


def off_form(truth: Mapping[str, Any], town: Town, draw: np.random.Generator) -> str:
    """Another form than was asked for: a sentence for a word; else without capitals and end mark."""
    if truth.get("format") == "word":
        return " ".join(content({**truth, "format": "sentence"}, town, draw))
    return " ".join(content(truth, town, draw)).lower().rstrip(".!?")


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
