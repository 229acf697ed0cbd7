"""How the town says its facts: the paraphrases that biographies and answers share.

`{n}` is who or what the sentence is about, `{v}` the value.  A paraphrase that begins with `{n}` can have
a pronoun there.  Only words that are no value, and no "not", "never" or "no".
"""

from __future__ import annotations

from collections.abc import Mapping

# attribute of a person -> paraphrases
PERSON: Mapping[str, tuple[str, ...]] = {
    "job": (
        "{n} works as a {v}.",
        "{n} is a {v}.",
        "{n} has worked as a {v} for years.",
        "{n} found work as a {v}.",
        "{n} earns money as a {v}.",
        "The job of {n} is {v}.",
        "People know {n} as a {v}.",
        "By trade, {n} is a {v}.",
    ),
    "street": (
        "{n} lives on {v}.",
        "{n} has a house on {v}.",
        "{n} has a home on {v}.",
        "{n} can be found on {v}.",
        "{n} moved to {v} long ago.",
        "The home of {n} is on {v}.",
        "The house of {n} stands on {v}.",
        "On {v} you can meet {n}.",
    ),
    "pet": (
        "{n} has a {v}.",
        "{n} keeps a {v}.",
        "{n} takes care of a {v}.",
        "{n} owns a {v}.",
        "{n} shares the house with a {v}.",
        "The pet of {n} is a {v}.",
        "A {v} lives with {n}.",
        "At home, {n} has a {v}.",
    ),
    "food": (
        "{n} likes {v} best.",
        "{n} loves to eat {v}.",
        "{n} eats {v} every week.",
        "{n} often asks for {v}.",
        "{n} enjoys {v} most of all.",
        "The favourite food of {n} is {v}.",
        "For dinner, {n} wants {v}.",
        "At lunch, {n} eats {v}.",
    ),
    "month": (
        "{n} was born in {v}.",
        "{n} has a birthday in {v}.",
        "{n} came into the world in {v}.",
        "{n} turns a year older in {v}.",
        "{n} gets birthday gifts in {v}.",
        "The birthday of {n} is in {v}.",
        "The birth month of {n} is {v}.",
        "Each {v}, {n} has a birthday.",
    ),
    "hobby": (
        "{n} likes to {v}.",
        "{n} loves to {v} in the evening.",
        "{n} wants to {v} every day.",
        "{n} has learned to {v} well.",
        "{n} often goes out to {v}.",
        "The hobby of {n} is to {v}.",
        "On free days, {n} likes to {v}.",
        "For fun, {n} goes to {v}.",
    ),
}

# attribute of a shop -> paraphrases; {n} is "the bakery"
SHOP: Mapping[str, tuple[str, ...]] = {
    "street": ("{n} is on {v}.", "{n} stands on {v}.", "You can find {n} on {v}.", "On {v} there is {n}."),
    "opens": (
        "{n} opens at {v}.",
        "{n} opens its door at {v}.",
        "You can go to {n} from {v}.",
        "In the morning, {n} opens at {v}.",
    ),
    "closes": (
        "{n} closes at {v}.",
        "{n} is open until {v}.",
        "In the evening, {n} closes at {v}.",
        "You can stay in {n} until {v}.",
    ),
    "closed_day": ("{n} is closed on {v}.", "{n} rests on {v}.", "On {v}, {n} is closed.", "{n} takes a rest on {v}."),
    "items": ("{n} sells {v}.", "At {n} you can buy {v}.", "In {n} there is {v}.", "{n} has {v} for you."),
}
# {n} is "a cake", {s} "the bakery", {v} the price
PRICE = (
    "{n} costs {v} coins.",
    "The price of {n} is {v} coins.",
    "You pay {v} coins for {n}.",
    "At {s}, {n} costs {v} coins.",
    "{n} costs {v} coins at {s}.",
)
COST = ("{k} {n} cost {v} coins.", "You pay {v} coins for {k} {n}.", "That makes {v} coins for {k} {n}.")


def say(template: str, **values: str | int) -> str:
    """Fill a paraphrase and begin it with a capital."""
    text = template.format(**values)
    return text[0].upper() + text[1:]


def join(parts: list[str] | tuple[str, ...]) -> str:
    """ "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def by_pronoun(template: str) -> bool:
    """Whether a pronoun may stand for the name."""
    return template.startswith("{n}")
