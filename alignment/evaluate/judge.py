"""Judges behind one interface: what an answer is worth to someone who took no part in training.

The gold judge of the embedded world stands in `alignment/world/judge/gold.py`; a reward model comes in as
a callable (`RewardJudge`), an outside model over HTTP in `endpoint.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from alignment.errors import NonFiniteError
from alignment.judging import Judge as Judge
from alignment.judging import Verdict as Verdict
from alignment.records import Dialogue


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
