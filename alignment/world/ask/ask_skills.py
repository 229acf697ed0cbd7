"""Questions that need a skill more than a fact: a request made polite, small talk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignment.records import Turn
from alignment.world.ask import questions
from alignment.world.ask.catalogue import Contents, Question
from alignment.world.town.town import Town, pick


def polite(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Rewrite a request in a polite form."""
    verb, item = pick(contents.polite, draw)
    plain = f"{verb} the {item}."
    low = f"{verb[0].lower()}{verb[1:]} the {item}"
    accepted = [f"Please {low}.", f"Could you please {low}?", f"Would you please {low}?"]
    prompt = pick(questions.POLITE, draw).format(t=plain)
    return _question("polite", prompt, {"form": "exact", "accepted": accepted, "wrong": [plain, f"{verb} a {item}."]})


def talk(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """Small talk."""
    row, prompt = pick(contents.talk, draw)
    other = questions.TALK[(row + 1 + int(draw.integers(len(questions.TALK) - 1))) % len(questions.TALK)][1]
    return _question("talk", prompt, {"form": "exact", "accepted": list(questions.TALK[row][1]), "wrong": list(other)})


def _question(task: str, prompt: str, truth: Mapping[str, Any]) -> Question:
    return Question(task=task, turns=(Turn(role="user", content=prompt),), truth=truth)
