"""A town, its people as annotators, an endpoint on this machine, and an annotator whose verdicts can be foretold."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from alignment.annotate.annotator import Question, Verdict
from alignment.errors import DataError
from alignment.records import Dialogue, Source, Turn
from alignment.world import World, WorldSettings
from tests.alignment.evaluate.conftest import endpoint as endpoint


@dataclass
class Longer:
    """Prefers the longer answer; gives no verdict where one of the answers says "silence"."""

    title: str = "who likes length"
    paid: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    unsure_of: str = ""

    def compare(self, question: Question, turn: int) -> Verdict:
        self.asked.append((question.key, turn))
        if "silence" in (question.first, question.second):
            raise DataError("there was no answer")
        if question.campaign == self.unsure_of:
            return Verdict(annotator="longer", preferred=0)
        longer = len(question.first) >= len(question.second)
        return Verdict(annotator=f"longer-{turn}", preferred=1 if longer else -1, grade="better")


@pytest.fixture
def longer() -> Longer:
    return Longer()


@pytest.fixture(scope="session")
def world() -> World:
    return World(WorldSettings(size="seconds"))


def asked(text: str = "Why?", campaign: str = "helpfulness", line: int = 1) -> Dialogue:
    """A prompt."""
    turns = (Turn(role="user", content=text),)
    return Dialogue(turns=turns, source=Source(file="made", line=line), id=f"p{line}", meta={"campaign": campaign})


def question(first: str, second: str, campaign: str = "helpfulness") -> Question:
    return Question(prompt=asked(campaign=campaign), first=first, second=second, campaign=campaign)
