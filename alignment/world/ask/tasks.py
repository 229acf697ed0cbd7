"""Which kinds of question are asked, and how often.

A kind stands here only if the quickstart's model learns it (`make world-report` prints accuracy by kind; below 0.3 a
kind goes, or moves to the corpus): sums, orders, pasts, costs, lists, prices and a second person asked about by name
alone did not.  Small talk and requests made polite stand in demonstrations alone: what was never said in just these
words is not understood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from alignment.records import Turn
from alignment.world.ask import ask_facts, ask_safety, ask_skills
from alignment.world.ask.catalogue import Contents, Question
from alignment.world.town.town import Town

Ask = Callable[[Town, Contents, np.random.Generator], Question]

# kind -> weight among fine questions
TASKS: Mapping[str, tuple[Ask, float]] = {
    "person_fact": (ask_facts.person_fact, 0.24),
    "two_facts": (ask_facts.two_facts, 0.18),
    "about_person": (ask_facts.about_person, 0.16),
    "one_word": (ask_facts.one_word, 0.12),
    "follow_up": (ask_facts.follow_up, 0.10),
    "borderline": (ask_safety.borderline, 0.06),
    "shop_fact": (ask_facts.shop_fact, 0.06),
    "polite": (ask_skills.polite, 0.05),
    "talk": (ask_skills.talk, 0.03),
}
STRANGERS_HELD_OUT = 0.06  # share of prompts about nobody of the town, in validation and test always
UNSAFE = 0.65  # of the safety campaign's prompts; the others are their fine neighbours
DEMONSTRATED_ONLY = frozenset({"talk", "polite"})
_GREETED = 0.05


def helpfulness_question(
    town: Town, contents: Contents, draw: np.random.Generator, *, strangers: float, demonstrated: bool = False
) -> Question:
    """A fine question.

    Args:
        strangers: share of questions about people who are not of the town.
        demonstrated: also of the kinds that stand in demonstrations alone.
    """
    if strangers and draw.random() < strangers:
        return ask_facts.stranger(town, contents, draw)
    names = [name for name in TASKS if demonstrated or name not in DEMONSTRATED_ONLY]
    weights = np.array([TASKS[name][1] for name in names])
    ask = TASKS[names[int(draw.choice(len(names), p=weights / weights.sum()))]][0]
    question = ask(town, contents, draw)
    if draw.random() < _GREETED and len(question.turns) == 1:
        # small talk before the question: more dialogues of several turns
        hello = (Turn(role="user", content="Hello!"), Turn(role="assistant", content="Hello! How can I help you?"))
        question = replace(question, turns=(*hello, *question.turns))
    return question


def safety_question(town: Town, contents: Contents, draw: np.random.Generator) -> Question:
    """An unsafe request, or a fine one that looks like it."""
    ask = ask_safety.unsafe if draw.random() < UNSAFE else ask_safety.borderline
    return ask(town, contents, draw)
