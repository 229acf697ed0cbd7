"""What a judge is: figures for every answer, and which figure decides between two versions.  No torch.

The leaves: `GoldJudge` (the embedded world's truth), `RewardJudges` (one reward model or two), `EndpointJudge` (an
outside model over HTTP).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alignment.records import Answer


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How one judge decides between two answers to a prompt of one campaign.

    Attributes:
        figure: the judge's figure that is compared; higher is better.
        tie: differences of at most this are a tie, on the figure's own scale.
    """

    figure: str
    tie: float


class Judge(Protocol):
    """Gives answers figures; two figures of one judge can be compared, of two judges not."""

    @property
    def name(self) -> str:
        """Stands before its figures ("gold" in "gold.helpfulness")."""
        ...

    @property
    def independent(self) -> bool:
        """Whether it took no part in training the models that it judges."""
        ...

    @property
    def decides(self) -> Mapping[str, Decision]:
        """Campaign ("helpfulness", "safety") -> how two answers are compared; other campaigns are not compared."""
        ...

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """One mapping of figures per answer, in order; empty where it has no verdict."""
        ...
