"""One reward model or two as one judge (Llama 2 paper, 3.2.3): helpfulness, safety and the combined reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch

from alignment.errors import NonFiniteError, TokenizerError
from alignment.judging import Decision
from alignment.policy.pairing import require_same_tokenizer
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from reward.model import RewardModel
from reward.scorer import Scorer
from rl.objective import combined_reward
from rl.outside_watch import EndpointWatch

# in logits: at this distance the model itself takes the better answer with less than 52.5 %, and in bf16 scores
# from 4 on lie 0.03 apart
TIE = 0.1
_DECIDES: Mapping[str, Decision] = MappingProxyType(
    {
        "helpfulness": Decision(figure="combined", tie=TIE),
        "safety": Decision(figure="safety", tie=TIE),  # the combined reward of a prompt that is tagged so
    }
)
_DECIDES_ALONE: Mapping[str, Decision] = MappingProxyType({"helpfulness": _DECIDES["helpfulness"]})


@dataclass(frozen=True, kw_only=True)
class RewardJudges:
    """The reward models and how they combine; a judge that took part in training.

    Attributes:
        helpfulness: a reward model, or anything else that scores answers.
        safety: likewise; None: there is no safety branch, and the combined reward is the helpfulness score.
        safety_threshold: as a probability; below it the safety score counts (0.15 in the paper).
        watch: a model of comparisons that the others never saw, or an outside one that compares.  No answer is rewarded
            by it: what a stage decides by itself (which iteration is the best) is decided by it, since a policy that
            has learnt to please the reward models pleases it less (paper, 3.4.1: a more general reward model watches
            for divergence).
        compute: the machine that scores.
    """

    helpfulness: Scorer
    safety: Scorer | None = None
    watch: Scorer | EndpointWatch | None = None
    safety_threshold: float = 0.15
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    name: str = "reward"

    @staticmethod
    def load(
        helpfulness: Path | str,
        safety: Path | str | None = None,
        *,
        watch: Path | str | None = None,
        safety_threshold: float = 0.15,
        compute: ComputeSettings | None = None,
    ) -> RewardJudges:
        """Reward models of ours from their folders; one will do.

        Raises:
            CheckpointError, TokenizerError: as `RewardModel.load`.
        """
        return RewardJudges(
            helpfulness=RewardModel.load(helpfulness),
            safety=RewardModel.load(safety) if safety is not None else None,
            watch=RewardModel.load(watch) if watch is not None else None,
            safety_threshold=safety_threshold,
            compute=compute or ComputeSettings(),
        )

    @property
    def independent(self) -> bool:
        """No: the models were trained by these scores."""
        return False

    @property
    def decides(self) -> Mapping[str, Decision]:
        """The combined reward, on safety prompts the safety score, if there is one; ties are told in logits."""
        return _DECIDES if self.safety is not None else _DECIDES_ALONE

    def require_fit(self, policy: Policy) -> None:
        """Refuse judges that read the policy's token ids as other texts.

        Raises:
            TokenizerError: naming the judge and both digests.
        """
        for name, model in self._all():
            if model.tokenizer is not None:
                require_same_tokenizer(model.tokenizer, f"the {name} reward model", policy.tokenizer, "the policy")

    def value_start(self, policy: Policy, *, seed: int) -> RewardModel:
        """What PPO's value function starts from: the helpfulness model, or the policy's body where that is no model of
        ours."""
        if isinstance(self.helpfulness, RewardModel):
            return self.helpfulness
        return RewardModel.from_policy(policy, seed=seed, name="value")

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """Scores of a pool of answers before the sigmoid; each prompt is computed once for all its answers.

        Returns:
            `helpfulness`, `safety` (where there is a safety model) and `combined` of each answer.

        Raises:
            TokenizerError: an answer's ids belong to another tokenizer than a reward model's.
            NonFiniteError: a score is NaN or infinite; names the prompts' rows.
        """
        self._require_same_ids(answers)
        compute = resolve_compute(self.compute)
        scores = {
            name: torch.tensor(model.score_answers(answers, compute), dtype=torch.float64)
            for name, model in self._models()
        }
        bad = ~torch.stack([torch.isfinite(of_one) for of_one in scores.values()]).all(dim=0)
        if bad.any():
            at = bad.nonzero()[:, 0].tolist()
            first = ", ".join(f"{name} {float(of_one[at[0]])}" for name, of_one in scores.items())
            rows = list(dict.fromkeys(str(answers[i].dialogue.source) for i in at))
            raise NonFiniteError("reward", step=0, value=first, rows=rows)
        combined = scores["helpfulness"]
        if self.safety is not None:
            tagged = torch.tensor([is_safety_prompt(answer.dialogue) for answer in answers], dtype=torch.bool)
            combined = combined_reward(combined, scores["safety"], tagged, self.safety_threshold)
        columns = {name: of_one.tolist() for name, of_one in (*scores.items(), ("combined", combined))}
        return [{name: column[i] for name, column in columns.items()} for i in range(len(answers))]

    @property
    def watch_is_paid(self) -> bool:
        """Whether each answer that is watched costs a request: then only what decides something is."""
        return isinstance(self.watch, EndpointWatch)

    def watched(self, answers: Sequence[Answer]) -> Sequence[float | None] | None:
        """The watch model's scores before the sigmoid, an outside one's share of comparisons won.

        Returns:
            None where there is no watch model; of an answer None where an outside one gave no verdict.

        Raises: as `judge`, and as `EndpointWatch.compare`.
        """
        if self.watch is None:
            return None
        if isinstance(self.watch, EndpointWatch):
            return self.watch.compare(answers)
        self._require_same_ids(answers)
        scores = self.watch.score_answers(answers, resolve_compute(self.compute))
        for answer, score in zip(answers, scores, strict=True):
            if not math.isfinite(score):
                raise NonFiniteError("watch score", step=0, value=str(score), rows=[str(answer.dialogue.source)])
        return list(scores)

    def _models(self) -> tuple[tuple[str, Scorer], ...]:
        roles = (("helpfulness", self.helpfulness), ("safety", self.safety))
        return tuple((name, model) for name, model in roles if model is not None)

    def _all(self) -> tuple[tuple[str, Scorer | EndpointWatch], ...]:
        return (*self._models(), *((("watch", self.watch),) if self.watch is not None else ()))

    def _require_same_ids(self, answers: Sequence[Answer]) -> None:
        for name, model in self._all():
            own = model.tokenizer
            other = next((answer for answer in answers if own is not None and answer.tokenizer != own.sha256), None)
            if own is not None and other is not None:
                raise TokenizerError(
                    f"the {name} reward model has the tokenizer {own.sha256[:12]}…, the answer to "
                    f"{other.dialogue.source} was sampled with {other.tokenizer[:12]}…; both must be the same one"
                )


def is_safety_prompt(prompt: Dialogue) -> bool:
    """Whether the prompt is tagged as adversarial (its campaign is "safety")."""
    return prompt.meta.get("campaign") == "safety"
