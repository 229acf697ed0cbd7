"""Whether a sentence has a form that people of the town use: trigrams of forms, values left out.

The forms are those of all paraphrases of facts, of courtesy, refusals and the rest; a judge adds the
accepted answers of the question at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alignment.world.ask import courtesy, questions
from alignment.world.judge.lexicon import Lexicon, Sentence
from alignment.world.town import statements
from alignment.world.town.statements import by_pronoun, join, say
from alignment.world.town.town import Town

Trigram = tuple[str, str, str]
_START, _STOP = "<s>", "</s>"


def trigrams(sentence: Sentence) -> list[Trigram]:
    """The trigrams of a sentence's form, its start and end included; the end mark counts as one."""
    form = (_START, *sentence.skeleton, sentence.end or ".", _STOP)
    return [(form[i], form[i + 1], form[i + 2]) for i in range(len(form) - 2)]


def known_forms(town: Town, lexicon: Lexicon) -> set[Trigram]:
    """The trigrams of everything that is said in the town."""
    found: set[Trigram] = set()
    for text in (*_facts(town), *_others(town)):
        for sentence in lexicon.sentences(text):
            found.update(trigrams(sentence))
    return found


def fluency(sentences: Iterable[Sentence], known: set[Trigram], more: set[Trigram] | None = None) -> float:
    """1 where every trigram is known, falling to 0 where two thirds are not."""
    total = unknown = 0
    for sentence in sentences:
        for trigram in trigrams(sentence):
            total += 1
            unknown += trigram not in known and (more is None or trigram not in more)
    return max(0.0, 1.0 - 1.5 * unknown / total) if total else 0.0


def _facts(town: Town) -> Iterator[str]:
    person = town.people[0]
    for attribute, templates in statements.PERSON.items():
        yield say("{v}.", v=person.facts[attribute])
        yield say("A {v}.", v=person.facts[attribute])
        for template in templates:
            for subject in (person.name, "he", "she") if by_pronoun(template) else (person.name,):
                yield say(template, n=subject, v=person.facts[attribute])
    shop = town.shops[0]
    goods = [f"a {item}" for item in shop.prices]
    for attribute, templates in statements.SHOP.items():
        for template in templates:
            for number in range(1, 5) if attribute == "items" else (1,):
                value = join((goods * 2)[:number]) if attribute == "items" else str(getattr(shop, attribute))
                for subject in (f"the {shop.name}", "it") if by_pronoun(template) else (f"the {shop.name}",):
                    yield say(template, n=subject, v=value)
    for template in statements.PRICE:
        yield say(template, n=goods[0], s=f"the {shop.name}", v=3)
    for template in statements.COST:
        yield say(template, k=2, n=f"{next(iter(shop.prices))}s", v=3)
    yield "3."
    for number in range(1, 5):
        yield say("{v}.", v=join((goods * 2)[:number]))


def _others(town: Town) -> Iterator[str]:
    person, shop = town.people[0], town.shops[0]
    slots = {"n": person.name, "s": f"the {shop.name}", "i": f"a {next(iter(shop.prices))}", "c": "1 2 3"}
    yield from (
        *courtesy.OPENERS,
        *courtesy.CLOSERS,
        *courtesy.RUDE,
        *courtesy.FILLER,
        *courtesy.UNKNOWN,
        courtesy.UNKNOWN_WORD,
        *courtesy.REFUSALS,
    )
    for templates in (*courtesy.REASONS.values(), *courtesy.OFFERS.values(), *courtesy.HARMS.values()):
        yield from (say(template, **slots) for template in templates)
    yield from (say(template, **slots) for template in courtesy.PRAISE)
    yield from questions.OWN_CODE
    for _, replies in questions.TALK:
        yield from replies
    yield "No."
