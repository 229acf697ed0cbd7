"""Pairs and a reward small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alignment.records import Answer, Dialogue, Preference, Source, Turn
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute


def preferences(count: int = 8) -> list[Preference]:
    """Pairs with prompts and answers of different lengths."""
    made = []
    for i in range(count):
        source = Source(file="made", line=i + 1)
        asked = Turn(role="user", content="who sells " + "bread " * (1 + i % 3) + f"in {i}?")
        prompt = Dialogue(turns=(asked,), source=source, id=f"p{i}")
        chosen, rejected = "the baker " * (1 + i % 3) + "sells it.", "nobody " * (1 + i % 2) + "knows"
        made.append(Preference(prompt=prompt, chosen=chosen, rejected=rejected, grade="better", source=source))
    return made


@dataclass
class Scored:
    """A scorer that keeps what it was asked.

    Attributes:
        score: an answer -> its reward.
        asked: every answer so far.
    """

    score: Callable[[Answer], float]
    tokenizer: Tokenizer | None = None
    asked: list[Answer] = field(default_factory=list)

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        """The rewards, in order."""
        self.asked += answers
        return [self.score(answer) for answer in answers]
