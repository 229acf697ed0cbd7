"""What gives answers one score each: a reward model of ours, another architecture's, or a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from alignment.records import Answer

if TYPE_CHECKING:
    from alignment.text.tokenizer import Tokenizer
    from alignment.train.compute import Compute

# prompts, each prompt's answers, the machine -> each prompt's scores, all as token ids
ScoreIds = Callable[[Sequence[Sequence[int]], Sequence[Sequence[Sequence[int]]], "Compute"], list[list[float]]]


class Scorer(Protocol):
    """Scores answers; higher is better, before any sigmoid."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Whose token ids it reads; None if it reads text."""
        ...

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        """One score per answer, in order."""
        ...


def scores_by_prompt(score_ids: ScoreIds, answers: Sequence[Answer], compute: Compute) -> list[float]:
    """Scores of a pool of answers where each prompt is computed once for all its answers."""
    places: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for i, answer in enumerate(answers):
        places.setdefault((answer.dialogue.id, answer.prompt_ids), []).append(i)
    groups = list(places.values())
    prompts = [answers[group[0]].prompt_ids for group in groups]
    options = [[answers[i].token_ids for i in group] for group in groups]
    scores = [0.0] * len(answers)
    for group, found in zip(groups, score_ids(prompts, options, compute), strict=True):
        for i, score in zip(group, found, strict=True):
            scores[i] = score
    return scores
