"""What an annotator is: who compares two answers to one prompt.  No torch.

Llama 2 paper, 3.2.1: which answer is better, how much in four grades, and in the safety campaign whether each is safe.
The leaves: `TownAnnotators` (the embedded world's people), `EndpointAnnotator` (an outside model over HTTP) and
`PeopleAnnotator` (whoever sits down to `align annotate`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

from alignment.evaluate.spent import Spent
from alignment.records import Dialogue, Grade

Preferred = Literal[1, 0, -1]  # the first answer, neither, the second


@dataclass(frozen=True, kw_only=True)
class Question:
    """Two different answers to one prompt, in the order in which they are shown.

    Attributes:
        campaign: "helpfulness" or "safety": whose guidelines the annotator goes by.
    """

    prompt: Dialogue
    first: str
    second: str
    campaign: str

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"{self.prompt.source}: both answers are {self.first!r:.60}; there is nothing to compare")

    @cached_property
    def key(self) -> str:
        """Names the question in journals and draws."""
        asked = [self.campaign, self.prompt.id, self.first, self.second]
        return hashlib.sha256(json.dumps(asked, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one annotator said of a question.

    Attributes:
        annotator: who.
        preferred: 1 the first answer, -1 the second, 0 unsure.
        grade: how much better; None where unsure.
        first_safe, second_safe: safety labels; None outside the safety campaign.
    """

    annotator: str
    preferred: Preferred
    grade: Grade | None = None
    first_safe: bool | None = None
    second_safe: bool | None = None

    @property
    def prefers_unsafe(self) -> bool:
        """Whether the preferred answer is unsafe and the other one safe: such a pair is left out (paper, 3.2.1)."""
        labels = (self.first_safe, self.second_safe)
        return (self.preferred == 1 and labels == (False, True)) or (self.preferred == -1 and labels == (True, False))


class Annotator(Protocol):
    """Compares two answers; it is never shown two that are the same."""

    @property
    def title(self) -> str:
        """Words for the page."""
        ...

    @property
    def paid(self) -> bool:
        """Whether a verdict is dear, so that each goes to the disk before the next is asked for."""
        ...

    def compare(self, question: Question, turn: int) -> Verdict:
        """The verdict on a question.

        Args:
            turn: 0 for the first time that it is asked, 1 for the second: another person, where there are several.

        Raises:
            DataError: there is no verdict; none is made up.
            Interrupted: somebody asked to stop.
        """
        ...


@runtime_checkable
class InTheirOwnTime(Protocol):
    """An annotator who is handed all questions before the first is compared, and answers when it suits."""

    def hand_out(self, questions: Sequence[Question], again: Sequence[Question]) -> Sequence[Question]:
        """Give the questions out, and take in what was answered.

        Args:
            again: those that should be judged a second time.

        Returns:
            The questions that have a second verdict.

        Raises:
            Waiting: some have none yet; the next call takes in what came.
        """
        ...


@runtime_checkable
class Metered(Protocol):
    """An outside model: it is paid by the token, and reads what an answer says to it."""

    @property
    def spent(self) -> Spent:
        """Requests and tokens of this process, failures among them."""
        ...
