"""How much of what was asked an answer says, and how much of what it says is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignment.world.judge.claims import claims
from alignment.world.judge.lexicon import Lexicon, Sentence
from alignment.world.town.town import Town


@dataclass(frozen=True, kw_only=True)
class Content:
    """`correct` and `complete` in [0, 1]; `beside` counts true claims that nobody asked for."""

    correct: float
    complete: float
    beside: int = 0


_NOTHING = Content(correct=0.0, complete=0.0)


def facts_content(truth: Mapping[str, Any], sentences: Sequence[Sentence], town: Town) -> Content:
    """Facts about people, shops and prices.

    One false claim about an asked attribute makes the answer wrong: of two answers one is a guess.
    """
    asked = {(subject, attribute): str(value) for subject, attribute, value in truth["facts"]}
    bare = truth["facts"][0][1] if len(truth["facts"]) == 1 else None
    made = claims(sentences, town, truth["facts"][0][0], bare_number=bare)
    true = dict.fromkeys((c.subject, c.attribute, c.value) for c in made if c.true)
    false = [c for c in made if not c.true]
    if not true or any((c.subject, c.attribute) in asked for c in false):
        return _NOTHING
    stated = sum((subject, attribute) in asked for subject, attribute, _ in true)
    needed = int(truth["needed"])
    correct = len(true) / (len(true) + 2 * len(false)) if stated else 0.0
    return Content(correct=correct, complete=min(1.0, stated / needed), beside=max(0, len(true) - needed))


def number_content(truth: Mapping[str, Any], sentences: Sequence[Sentence]) -> Content:
    """One number; the question's own numbers may be repeated as they stood there, and no others."""
    stated: list[str] = []
    for sentence in sentences:
        if sentence.end == "?":
            continue
        tokens = sentence.tokens
        numbers = [i for i, token in enumerate(tokens) if token.kind == "number"]
        if numbers and sentence.negated:
            return _NOTHING
        if "item" in truth:
            if any(value != truth["item"] for value in sentence.of_kind("item")):
                return _NOTHING
            counts = [i for i in numbers if i + 1 < len(tokens) and tokens[i + 1].kind == "item"]
            if any(tokens[i].value != str(truth["count"]) for i in counts):
                return _NOTHING
            numbers = [i for i in numbers if i not in counts]
        else:
            numbers = _without_operands(truth, sentence, numbers)
        stated += [tokens[i].value for i in numbers]
    right = bool(stated) and all(value == str(truth["value"]) for value in stated)
    # anything else of the town that is named has nothing to do with the number
    foreign = sum(bool(t.kind) and t.kind not in ("number", "item", "shop") for s in sentences for t in s.tokens)
    return Content(correct=right / (1 + 2 * foreign), complete=float(right))


def _without_operands(truth: Mapping[str, Any], sentence: Sentence, numbers: list[int]) -> list[int]:
    a, b = map(str, truth["operands"])
    orders = [(a, truth["op"], b)] + ([(b, truth["op"], a)] if truth["op"] == "plus" else [])
    values = [token.value for token in sentence.tokens]
    for i in numbers:
        if tuple(values[i : i + 3]) in orders:
            return [n for n in numbers if n not in (i, i + 2)]
    return numbers


def items_content(truth: Mapping[str, Any], sentences: Sequence[Sentence]) -> Content:
    """A list of so many of a kind; naming more than were asked for is as bad as naming fewer."""
    pool = {str(item).removeprefix("a ").lower() for item in truth["pool"]}
    named = [token for s in sentences if s.end != "?" for token in s.tokens if token.kind]
    shops = [token.value for token in named if token.kind == "shop"]
    listed = [token.value.lower() for token in named if token.kind not in ("shop",)]
    right = [value for value in dict.fromkeys(listed) if value in pool]
    wrong = len(listed) - len(right)  # repeated ones too
    if not right or any(shop != truth.get("shop") for shop in shops) or any(s.negated for s in sentences):
        return _NOTHING
    count = int(truth["count"])
    complete = max(0.0, 1.0 - abs(len(right) - count) / count)
    return Content(correct=len(right) / (len(right) + 2 * wrong), complete=complete)


def exact_content(truth: Mapping[str, Any], sentences: Sequence[Sentence], lexicon: Lexicon) -> Content:
    """One of the accepted answers; near ones get at most two fifths.

    Args:
        sentences: without what is said around the answer.
    """
    said = _words(list(dict.fromkeys(sentences)))
    if not said:
        return _NOTHING
    near = 0.0
    for text in truth["accepted"]:
        wanted = _words(lexicon.sentences(text))
        if said == wanted:
            return Content(correct=1.0, complete=1.0)
        near = max(near, _overlap(said, wanted))
    if any(said == _words(lexicon.sentences(text)) for text in truth.get("wrong", ())):
        return _NOTHING
    return Content(correct=0.8 * (near - 0.5), complete=1.0) if near > 0.5 else _NOTHING


def _words(sentences: Sequence[Sentence]) -> list[str]:
    return [
        token.value.lower() + "s" * token.plural
        for s in sentences
        for token in s.tokens
        if token.value not in (",", ":")
    ]


def _overlap(said: list[str], wanted: list[str]) -> float:
    """F1 of the bigrams, starts and ends included."""
    first, second = (Counter(zip(["", *w], [*w, ""], strict=True)) for w in (said, wanted))
    shared = (first & second).total()
    return 2 * shared / (first.total() + second.total())
