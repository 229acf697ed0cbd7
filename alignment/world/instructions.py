"""The world's instances of constraints, and how a demonstration follows one and a judge sees through it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alignment.constraint import Constraint
from alignment.world.settings import check_split

# split -> words; a held-out constraint is of a known kind with a word that training never uses so
_ENDS = {
    "train": ("friend", "captain", "neighbour", "sir", "dear", "my lady", "boss", "buddy"),
    "validation": ("traveller",),
    "test": ("partner", "stranger"),
}
_STARTS = {
    "train": ("Well", "Listen", "Look", "My word", "You see", "Oh"),
    "validation": ("Ah",),
    "test": ("Now then", "Wow"),
}
_PERSONAS = {
    "train": (("pirate", "arr"), ("robot", "beep"), ("cow", "moo"), ("owl", "hoot"), ("ghost", "boo"), ("bee", "buzz")),
    "validation": (("frog", "croak"),),
    "test": (("snake", "hiss"), ("train", "choo")),
}


def world_constraints(split: str = "train") -> Iterator[Constraint]:
    """The constraints of a split.

    Raises:
        UsageError: there is no such split.
    """
    check_split(split)
    for word in _ENDS[split]:
        yield Constraint(
            id=f"end-{_slug(word)}",
            kind="ends_with",
            argument=word,
            instruction=f'Always end your answer with "{word}".',
            short=f"End: {word}",
        )
    for word in _STARTS[split]:
        yield Constraint(
            id=f"start-{_slug(word)}",
            kind="starts_with",
            argument=word,
            instruction=f'Always start your answer with "{word}".',
            short=f"Start: {word}",
        )
    for role, word in _PERSONAS[split]:
        yield Constraint(
            id=f"persona-{_slug(role)}",
            kind="contains",
            argument=word,
            instruction=f'Act as a {role}. Say "{word}" in every answer.',
            short=f"Figure: {role}, {word}",
        )


def follow(constraint: Constraint, answer: str) -> str:
    """The answer, changed so that it follows one of the world's constraints."""
    word = str(constraint.argument)
    if constraint.kind == "ends_with":
        return f"{answer.rstrip('.!? ')}, {word}."
    if constraint.kind == "starts_with":
        return f"{word}, {answer}"
    if constraint.kind == "contains":
        return f"{word.capitalize()}! {answer}"
    raise ValueError(f"the world makes no answers for constraints of kind {constraint.kind}")


def without(constraint: Constraint, answer: str) -> str:
    """The answer without what the constraint asked for, so that its content can be judged."""
    word = re.escape(str(constraint.argument))
    if constraint.kind == "ends_with":
        return re.sub(rf",?\s*\b{word}\b\s*([.!?]*)\s*$", lambda m: m.group(1) or ".", answer, flags=re.IGNORECASE)
    if constraint.kind == "starts_with":
        return re.sub(rf"^\s*{word}\b\s*[,.!:]?\s*", "", answer, flags=re.IGNORECASE)
    if constraint.kind == "contains":
        return re.sub(
            rf"(^|[.!?]\s*)\s*{word}\b\s*[,.!]*\s*", lambda m: m.group(1), answer, count=1, flags=re.IGNORECASE
        )
    return answer


def _slug(word: str) -> str:
    return word.lower().replace(" ", "-")
