"""What an answer claims: (subject, attribute, value), read from its sentences and checked against the town."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.world.judge.lexicon import Sentence, Token
from alignment.world.town.town import Town
from alignment.world.town.vocabulary import ATTRIBUTES

_OPEN = frozenset(("open", "opens", "from"))
_CLOSE = frozenset(("close", "closes", "until", "to", "shuts"))
_PRONOUNS = {"he": "he", "his": "he", "him": "he", "she": "she", "her": "she"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One claim; `true` is the town's word on it (a denial of what is true is false)."""

    subject: str
    attribute: str
    value: str
    true: bool


def claims(
    sentences: Sequence[Sentence], town: Town, subject: str | None, *, bare_number: str | None = None
) -> list[Claim]:
    """Every claim about people, shops and prices, questions left out.

    Args:
        subject: whom or what the question is about; a pronoun or a sentence without a subject means it,
            until another one is named.
        bare_number: the attribute that a sentence of nothing but a number ("8.") speaks of.
    """
    found: list[Claim] = []
    current = subject
    for sentence in sentences:
        if sentence.end == "?":
            continue
        named = _subjects(sentence, town, current)
        for attribute, value, about in _values(sentence):
            if attribute == "number" and bare_number is not None and len(sentence.tokens) <= 2:
                attribute = bare_number  # "8." and "At 8."
            for who in about or named:
                claim = _checked(who, attribute, value, town, negated=sentence.negated)
                if claim is not None:
                    found.append(claim)
        if named and named[-1] in (*town.person, *town.shop):
            current = named[-1]
    return found


def _subjects(sentence: Sentence, town: Town, current: str | None) -> list[str]:
    named = [t.value for t in sentence.tokens if t.kind == "person"]
    if not named:
        named = [t.value for t in sentence.tokens if t.kind == "shop"]
    if named:
        return list(dict.fromkeys(named))
    for token in sentence.tokens:
        pronoun = _PRONOUNS.get(token.value) if not token.kind else None
        if pronoun is not None:
            person = town.person.get(current or "")
            # a pronoun of the other gender is about someone else
            return [current] if current and person is not None and person.pronoun == pronoun else ["someone else"]
    return [current] if current else ["someone else"]


def _values(sentence: Sentence) -> list[tuple[str, str, list[str]]]:
    """(attribute, value, subjects where they are not the sentence's)."""
    found: list[tuple[str, str, list[str]]] = []
    tokens = sentence.tokens
    items = [t.value for t in tokens if t.kind == "item"]
    shops = [t.value for t in tokens if t.kind == "shop"]
    for i, token in enumerate(tokens):
        if token.kind == "number":
            found.append(_number(tokens, i, items, shops))
        elif token.kind in ATTRIBUTES or token.kind == "closed_day":
            found.append((token.kind, token.value, []))
    if not any(t.kind == "number" for t in tokens) and shops:
        found += [("items", item, [shops[0]]) for item in items]
    return found


def _number(tokens: tuple[Token, ...], at: int, items: list[str], shops: list[str]) -> tuple[str, str, list[str]]:
    number = tokens[at].value
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if after is not None and after.value in ("coins", "coin"):
        # "2 cakes cost 6 coins" is a claim about two cakes, not about the price of one
        many = [
            tokens[i - 1].value
            for i in range(1, len(tokens))
            if tokens[i].kind == "item" and tokens[i - 1].kind == "number"
        ]
        if many and items:
            return f"cost of {many[0]}", number, [items[0]]
        return "price", number, items[:1]
    if after is not None and after.kind == "item":
        return "count", number, [after.value]
    for token in reversed(tokens[:at]):
        if token.value in _OPEN:
            # "is open until 5": the nearer word decides, and it comes first here
            return "opens", number, shops[:1]
        if token.value in _CLOSE:
            return "closes", number, shops[:1]
    return "number", number, []


def _checked(subject: str, attribute: str, value: str, town: Town, *, negated: bool) -> Claim | None:
    truth: bool
    if attribute == "count":
        return None
    if subject in town.person:
        truth = town.person[subject].facts.get(attribute) == value
    elif subject in town.shop:
        shop = town.shop[subject]
        if attribute == "items":
            truth = value in shop.prices
        else:
            truth = attribute in ("street", "opens", "closes", "closed_day") and str(getattr(shop, attribute)) == value
    else:
        price = next((shop.prices[subject] for shop in town.shops if subject in shop.prices), None)
        if attribute.startswith("cost of "):
            truth = price is not None and str(price * int(attribute.rpartition(" ")[2])) == value
        else:
            truth = attribute == "price" and price is not None and str(price) == value
    if negated:
        return Claim(subject=subject, attribute=attribute, value=value, true=False) if truth else None
    return Claim(subject=subject, attribute=attribute, value=value, true=truth)
