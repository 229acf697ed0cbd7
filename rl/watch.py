"""The watch model as a judge of finished answers: what it says of versions that were rewarded by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from alignment.errors import UsageError
from alignment.evaluate.judge_words import WATCH
from alignment.judging import Decision
from alignment.records import Answer
from rl.judges import TIE, RewardJudges

_SCORE = "score"
_DECIDES: Mapping[str, Decision] = MappingProxyType(
    {campaign: Decision(figure=_SCORE, tie=TIE) for campaign in ("helpfulness", "safety")}
)


@dataclass(frozen=True, kw_only=True)
class WatchJudge:
    """The watch model of some reward judges; one score decides in both campaigns.

    Attributes:
        judges: which hold the watch model.

    Raises:
        UsageError: they hold none.
    """

    judges: RewardJudges
    name: str = WATCH

    def __post_init__(self) -> None:
        if self.judges.watch is None:
            raise UsageError("these reward judges have no watch model; give them one: RewardJudges(…, watch=…)")

    @property
    def independent(self) -> bool:
        """No: it rewarded nothing, but chose which iteration of PPO is the result."""
        return False

    @property
    def decides(self) -> Mapping[str, Decision]:
        """Its score, in logits."""
        return _DECIDES

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """The score of each answer before the sigmoid.

        Raises: as `RewardJudges.watched`.
        """
        return [{_SCORE: score} for score in self.judges.watched(answers) or ()]
