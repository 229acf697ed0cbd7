"""Reading an answer: words, and the town's names and values among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from alignment.world.town import vocabulary as words
from alignment.world.town.town import Town

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[.!?,:]|\S")
ENDS = frozenset(".!?")
_NEGATIONS = frozenset(
    ("not", "never", "no", "nobody", "nothing", "neither", "nor", "none", "cannot", "without", "false")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word or a phrase of the town.

    Attributes:
        kind: the attribute whose value it is, or "person", "shop", "item", "number"; "" for a plain word.
        value: the value as the town writes it (a thing is singular), or the word itself in lower case.
        plural: whether a thing was written in the plural.
    """

    kind: str
    value: str
    plural: bool = False

    @property
    def skeleton(self) -> str:
        """What stands for the token where only the form of a sentence counts."""
        return f"<{self.kind}{'s' if self.plural else ''}>" if self.kind else self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """The tokens of one sentence without its end mark; `end` is "" where it has none."""

    tokens: tuple[Token, ...]
    end: str

    @property
    def negated(self) -> bool:
        """Whether it denies something."""
        return any(t.value in _NEGATIONS or t.value.endswith(("n't", "n’t")) for t in self.tokens if not t.kind)

    @property
    def skeleton(self) -> tuple[str, ...]:
        """Its form."""
        return tuple(token.skeleton for token in self.tokens)

    def of_kind(self, kind: str) -> list[str]:
        """The values of that kind, in order."""
        return [token.value for token in self.tokens if token.kind == kind]


class Lexicon:
    """The phrases of one town."""

    def __init__(self, town: Town) -> None:
        phrases: dict[tuple[str, ...], Token] = {}
        for category, pool in words.CATEGORIES.items():
            for value in pool:
                phrases[_split(value)] = Token(kind=category, value=value)
        for kind, pool in (*words.POOLS.items(), ("closed_day", words.DAYS)):
            for value in pool:
                phrases[_split(value)] = Token(kind=kind, value=value)
        for shop, items in words.SHOPS.items():
            phrases[_split(shop)] = Token(kind="shop", value=shop)
            for item in items:
                phrases[_split(item)] = Token(kind="item", value=item)
                phrases[_split(f"{item}s")] = Token(kind="item", value=item, plural=True)
        firsts: dict[str, list[str]] = {}
        for person in town.people:
            phrases[_split(person.name)] = Token(kind="person", value=person.name)
            firsts.setdefault(person.name.split()[0], []).append(person.name)
        for first, names in firsts.items():
            # a first name alone means someone only where one person has it
            phrases[_split(first)] = Token(kind="person", value=names[0] if len(names) == 1 else first)
        self._phrases = phrases
        self.people = tuple(person.name for person in town.people)
        self._longest = max(map(len, phrases))
        self._heads: Mapping[str, int] = _longest_by_head(phrases)

    def sentences(self, text: str) -> list[Sentence]:
        """The sentences of a text; a last one without an end mark counts too."""
        found: list[Sentence] = []
        current: list[str] = []
        for raw in _TOKEN.findall(text):
            if raw in ENDS:
                if current:
                    found.append(Sentence(tokens=self._tokens(current), end=raw))
                    current = []
            else:
                current.append(raw)
        if current:
            found.append(Sentence(tokens=self._tokens(current), end=""))
        return found

    def _tokens(self, raw: list[str]) -> tuple[Token, ...]:
        low = [word.lower().replace("’", "'") for word in raw]
        tokens = []
        i = 0
        while i < len(low):
            for length in range(min(self._heads.get(low[i], 0), len(low) - i), 0, -1):
                token = self._phrases.get(tuple(low[i : i + length]))
                if token is not None:
                    tokens.append(token)
                    i += length
                    break
            else:
                kind = "number" if low[i].isdecimal() else ""
                tokens.append(Token(kind=kind, value=low[i]))
                i += 1
        return tuple(tokens)


def _split(phrase: str) -> tuple[str, ...]:
    return tuple(phrase.lower().split())


def _longest_by_head(phrases: Mapping[tuple[str, ...], Token]) -> dict[str, int]:
    longest: dict[str, int] = {}
    for phrase in phrases:
        longest[phrase[0]] = max(longest.get(phrase[0], 0), len(phrase))
    return longest
