"""The pretraining corpus: biographies, a register, shop texts, small stories and a few lists, all in many paraphrases.

A document is a kind, then independent uniform choices, so its entropy given the town is a sum of
logarithms (`entropy.py`).  Which split a text belongs to is decided by the text itself, so that no text
can stand in two; all people stand in all splits (who may be *asked* about is another matter, `town.py`).
"""

from __future__ import annotations

from math import factorial, log2

import numpy as np

from alignment.randomness import named_generator, named_seed
from alignment.world.town import statements
from alignment.world.town import vocabulary as words
from alignment.world.town.statements import by_pronoun, join, say
from alignment.world.town.town import Town, pick

# kind -> share of the documents; biographies are three quarters, so that each person has the exposures asked for
KINDS: dict[str, float] = {"biography": 0.75, "register": 0.08, "shop": 0.12, "story": 0.03, "kinds": 0.02}
_SHARES = np.array(list(KINDS.values())) / sum(KINDS.values())
_HELD_OUT = {0: "validation", 1: "test"}
_PARTS = 20  # a twentieth of all possible texts for validation, one for test

MORNINGS = ("One morning", "Last week", "Early one day", "On a sunny day", "Before noon", "After breakfast")
WEATHER = (
    "The sun was warm.",
    "The wind was cold.",
    "It rained a little.",
    "The sky was blue.",
    "The streets were quiet.",
    "The air was fresh.",
)
BOUGHT = (
    "{p} bought a {i} there.",
    "{p} looked at a {i} and bought it.",
    "There, {p} paid for a {i}.",
    "{p} found a {i} and took it home.",
)
ENDS = (
    "Then {p} went home.",
    "It was a good day.",
    "In the evening {p} was tired but glad.",
    "{p} was happy about that.",
    "A friend came along on the way home.",
    "Then {p} sat down and had some tea.",
)


def document(town: Town, split: str, index: int) -> tuple[str, str]:
    """The index-th text of a split and its kind; depends on nothing but seed, split and index."""
    draw = named_generator(town.seed, "world", "document", split, index)
    while True:
        kind = list(KINDS)[int(draw.choice(len(KINDS), p=_SHARES))]
        text = _WRITERS[kind](town, draw)
        if split_of_text(town.seed, text) == split:
            return kind, text


def split_of_text(seed: int, text: str) -> str:
    """The only split in which a text may stand."""
    return _HELD_OUT.get(named_seed(seed, "world", "text", text) % _PARTS, "train")


def biography(town: Town, draw: np.random.Generator) -> str:
    """All six facts of one person, in random order and wording; by name first, then by pronoun or name."""
    person = pick(town.people, draw)
    order = [words.ATTRIBUTES[int(i)] for i in draw.permutation(len(words.ATTRIBUTES))]
    by_name = draw.random() < 0.5  # half of the texts repeat the full name: it makes facts easier to extract
    sentences = []
    for place, attribute in enumerate(order):
        template = pick(statements.PERSON[attribute], draw)
        short = place > 0 and not by_name and by_pronoun(template)
        sentences.append(say(template, n=person.pronoun if short else person.name, v=person.facts[attribute]))
    return " ".join(sentences)


def biography_bits(num_people: int) -> float:
    """Entropy of a biography given the town and that it is one, in bits.

    Choices: the person, the order, a paraphrase a fact, and whether the name is repeated (one bit, lost
    where no later sentence can have a pronoun; with these paraphrases it shows in nearly every text).
    """
    paraphrases = sum(log2(len(t)) for t in statements.PERSON.values())
    return log2(num_people) + log2(factorial(len(words.ATTRIBUTES))) + paraphrases + _pronoun_bits()


def _pronoun_bits() -> float:
    """What the choice "repeat the name" adds: one bit unless none of the five later sentences starts with it."""
    silent = [1 - sum(map(by_pronoun, t)) / len(t) for t in statements.PERSON.values()]
    total = float(np.prod(silent))
    hidden = sum(total / s if s else 0.0 for s in silent) / len(silent)  # each attribute is first equally often
    return 1.0 - hidden


def register_text(town: Town, draw: np.random.Generator) -> str:
    """One person's entry in the town's register: bare values, from which answers in one word are learnt."""
    person = pick(town.people, draw)
    order = [words.ATTRIBUTES[int(i)] for i in draw.permutation(len(words.ATTRIBUTES))]
    entries = [say("{a}: {v}.", a=words.NOUN[a], v=person.facts[a]) for a in order]
    return " ".join([f"{person.name}.", *entries])


def shop_text(town: Town, draw: np.random.Generator) -> str:
    """What there is to say about one shop: place, hours, closed day, goods and two prices."""
    shop = pick(town.shops, draw)
    named = f"the {shop.name}"
    goods = [f"a {item}" for item in shop.prices]
    values: dict[str, object] = {name: getattr(shop, name) for name in ("street", "opens", "closes", "closed_day")}
    values["items"] = join([goods[int(i)] for i in draw.permutation(len(goods))])
    names = list(values)
    chosen = [names[int(i)] for i in draw.permutation(len(names))[:4]]
    sentences = [say(pick(statements.SHOP[a], draw), n=named, v=str(values[a])) for a in chosen]
    for i in draw.permutation(len(goods))[:2]:
        item = list(shop.prices)[int(i)]
        sentences.append(say(pick(statements.PRICE, draw), n=f"a {item}", s=named, v=shop.prices[item]))
    if draw.random() < 0.5:
        item = pick(list(shop.prices), draw)
        number = 2 + int(draw.integers(2))
        sentences.append(say(pick(statements.COST, draw), k=number, n=f"{item}s", v=number * shop.prices[item]))
    return " ".join(sentences)


def story(town: Town, draw: np.random.Generator) -> str:
    """A few sentences of plain prose about one person and one shop."""
    person, shop = pick(town.people, draw), pick(town.shops, draw)
    _, went = pick(words.VERBS, draw)
    item = pick(list(shop.prices), draw)
    weather = pick(WEATHER, draw)
    first = f"{pick(MORNINGS, draw)}, {person.name} {went} to the {shop.name}."
    bought = say(pick(BOUGHT, draw), p=person.pronoun, i=item)
    attribute = pick(words.ATTRIBUTES, draw)
    fact = say(pick(statements.PERSON[attribute], draw), n=person.name, v=person.facts[attribute])
    end = say(pick(ENDS, draw), p=person.pronoun)
    return " ".join([first, weather, bought, fact, end])


def kinds_text(town: Town, draw: np.random.Generator) -> str:
    """Which things are of a kind, what a verb's past is, and numbers in order."""
    category = pick(list(words.CATEGORIES), draw)
    pool = words.CATEGORIES[category]
    chosen = [pool[int(i)] for i in draw.permutation(len(pool))[: 2 + int(draw.integers(3))]]
    now, then = pick(words.VERBS, draw)
    numbers = sorted(int(i) + 1 for i in draw.permutation(9)[:4])
    count = ", ".join(map(str, numbers))
    person = pick(town.people, draw)
    return (
        f"{say('{v}', v=join(chosen))} are {category}. Today {person.name} {now}, yesterday {person.name} {then}. "
        f"In order: {count}."
    )


_WRITERS = {"biography": biography, "register": register_text, "shop": shop_text, "story": story, "kinds": kinds_text}
