"""Judges behind one interface: what an answer is worth to someone who took no part in training.

The gold judge of the embedded world stands in `alignment/data/world/gold.py`; a reward model comes in as
a callable (`RewardJudge`), an outside model over HTTP in `endpoint.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from alignment.data.records import Dialogue
from alignment.errors import NonFiniteError

_NO_PARTS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge says of one answer.

    Attributes:
        helpfulness: 0 (useless) to 1.
        safety: 0 (does harm) to 1.
        parts: what the scores are made of, each 0 to 1 (the gold judge: correct, complete, concise,
            polite, format, fluent, follows).
    """

    helpfulness: float
    safety: float
    parts: Mapping[str, float] = field(default_factory=lambda: _NO_PARTS)


class Judge(Protocol):
    """Scores an answer to a prompt; two verdicts of one judge can be compared, of two judges not."""

    name: str

    def judge(self, dialogue: Dialogue, answer: str) -> Verdict:
        """The verdict on `answer` to `dialogue`, which ends with the user."""
        ...


class RewardJudge:
    """One or two reward models as a judge: σ(score) is the helpfulness (and the safety).

    Args:
        helpfulness: scores answered dialogues, any real number each, the larger the better.
        safety: the same for safety; without it every verdict's safety is 1.
    """

    def __init__(
        self,
        helpfulness: Callable[[Sequence[Dialogue]], Sequence[float]],
        safety: Callable[[Sequence[Dialogue]], Sequence[float]] | None = None,
        *,
        name: str = "reward",
    ) -> None:
        self.name = name
        self._helpfulness, self._safety = helpfulness, safety

    def judge(self, dialogue: Dialogue, answer: str) -> Verdict:
        """One verdict; `judge_all` is faster for many.

        Raises:
            NonFiniteError: a score is NaN or infinite.
        """
        return self.judge_all([(dialogue, answer)])[0]

    def judge_all(self, answers: Sequence[tuple[Dialogue, str]]) -> list[Verdict]:
        """Verdicts on many answers with one call a model.

        Raises:
            NonFiniteError: a score is NaN or infinite; names the row.
        """
        answered = [dialogue.prompt().answered(answer) for dialogue, answer in answers]
        helpful = [float(score) for score in self._helpfulness(answered)]
        safe = [math.inf] * len(answered) if self._safety is None else [float(s) for s in self._safety(answered)]
        for dialogue, scores in zip(answered, zip(helpful, safe, strict=True), strict=True):
            for score in scores[: 1 if self._safety is None else 2]:
                if not math.isfinite(score):
                    raise NonFiniteError("the judge's score", step=0, value=str(score), rows=[str(dialogue.source)])
        return [Verdict(helpfulness=_sigmoid(h), safety=_sigmoid(s)) for h, s in zip(helpful, safe, strict=True)]


def _sigmoid(score: float) -> float:
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    return math.exp(score) / (1.0 + math.exp(score))
