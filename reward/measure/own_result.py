"""A policy's own answers with all their scores, and what measuring reward models on them comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reward.result import Estimate, Share

FILE = "own_answers.json"
COMBINED = "combined"  # the reward that the models' scores become; beside their roles


@dataclass(frozen=True, kw_only=True)
class OwnAnswer:
    """One answer.

    Attributes:
        scores: reward model ("helpfulness", "safety", …, "combined") -> its score before the sigmoid.
        verdict: figures of the judge outside training; empty where there is none, or it had no verdict.
    """

    text: str
    scores: Mapping[str, float]
    verdict: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PromptAnswers:
    """What a policy says to one prompt.

    Attributes:
        prompt: its id.
        drawn: the K drawn answers, in the order of their seeds.
        greedy: the greedy one.
    """

    prompt: str
    drawn: tuple[OwnAnswer, ...]
    greedy: OwnAnswer


@dataclass(frozen=True, kw_only=True)
class OwnShare(Share):
    """How often a reward model scores the better answer of a pair higher, a tie counting half.

    Attributes:
        prompts: that have such a pair.
    """

    prompts: int


@dataclass(frozen=True, kw_only=True)
class BestOfN:
    """The answer chosen among n, on average over all ways to draw n of the K.

    Attributes:
        score: its mean score over the prompts.
        over_greedy: its mean score less the greedy answer's, prompt by prompt.
    """

    n: int
    score: Estimate
    over_greedy: Estimate


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """What choosing among a policy's answers gains, on one scale.

    Attributes:
        judge: whose scores they are; "reward" where nobody outside training judged.
        figure: of the judge.
        prompts: whose every answer has a score.
        greedy: the greedy answers' mean score.
        sample: a drawn answer's.
        chosen: who chooses -> by n, from 1 to K.
        oracle: the choice of the judge itself; empty where `judge` is "reward".
    """

    judge: str
    figure: str
    prompts: int
    greedy: Estimate
    sample: Estimate
    chosen: Mapping[str, tuple[BestOfN, ...]]
    oracle: tuple[BestOfN, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CampaignMeasures:
    """Reward models on one policy's answers to one campaign's prompts.

    Attributes:
        version: the policy.
        prompts: answered.
        distinct: different answers among the K, the mean over the prompts.
        without_verdict: answers, greedy ones too, that the outside judge had no verdict on.
        pairs: kind of pair ("right over wrong", …) -> reward model -> how often it is right.
    """

    version: str
    campaign: str
    prompts: int
    distinct: float
    without_verdict: int
    pairs: Mapping[str, Mapping[str, OwnShare]]
    best: tuple[BestOf, ...]


@dataclass(frozen=True, kw_only=True)
class OwnAnswersResult:
    """Reward models on policies' own answers.

    Attributes:
        judge: the one outside training; None where there is none.
        samples: K.
        temperature: at which they were drawn.
    """

    judge: str | None
    samples: int
    temperature: float
    measures: tuple[CampaignMeasures, ...]

    def as_json(self) -> dict[str, Any]:
        """What `own_answers.json` holds."""
        return asdict(self)
