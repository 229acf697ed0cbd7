"""The watch model as a judge of finished answers: what it says of versions that were rewarded by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from alignment.errors import UsageError
from alignment.evaluate.judge_words import OUTSIDE_WATCH, WATCH
from alignment.judging import Decision
from alignment.records import Answer
from rl.judges import TIE, RewardJudges

_CAMPAIGNS = ("helpfulness", "safety")
_SCORE = {campaign: Decision(figure="score", tie=TIE) for campaign in _CAMPAIGNS}
_WINS = {campaign: Decision(figure="wins", tie=0.25) for campaign in _CAMPAIGNS}  # between two of 0, 0.5 and 1


@dataclass(frozen=True, kw_only=True)
class WatchJudge:
    """The watch model of some reward judges; one score decides in both campaigns, an outside one's are its wins.

    Attributes:
        judges: which hold the watch model.

    Raises:
        UsageError: they hold none.
    """

    judges: RewardJudges

    def __post_init__(self) -> None:
        if self.judges.watch is None:
            raise UsageError("these reward judges have no watch model; give them one: RewardJudges(…, watch=…)")

    @property
    def name(self) -> str:
        """What stands before its figures."""
        return OUTSIDE_WATCH if self.judges.watch_is_paid else WATCH

    @property
    def independent(self) -> bool:
        """No: it rewarded nothing, but chose which iteration of PPO is the result."""
        return False

    @property
    def decides(self) -> Mapping[str, Decision]:
        """Its score, in logits, or the share of comparisons won."""
        return MappingProxyType(_WINS if self.judges.watch_is_paid else _SCORE)

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """The score of each answer before the sigmoid, or whether it wins; empty where it has no verdict.

        Raises: as `RewardJudges.watched`.
        """
        figure = self.decides["helpfulness"].figure
        scores = self.judges.watched(answers) or ()
        return [{} if score is None else {figure: score} for score in scores]
