"""The two reward models as one judge (Llama 2 paper, 3.2.3): helpfulness, safety and the combined reward of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from alignment.errors import NonFiniteError, TokenizerError
from alignment.judging import Decision
from alignment.policy.pairing import require_same_tokenizer
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.train.compute import Compute, resolve_compute
from alignment.train.settings import ComputeSettings
from reward.model import RewardModel
from rl.objective import combined_reward

# in logits: at this distance the model itself takes the better answer with less than 52.5 %, and in bf16 scores
# from 4 on lie 0.03 apart
_TIE = 0.1
_DECIDES: Mapping[str, Decision] = MappingProxyType(
    {
        "helpfulness": Decision(figure="combined", tie=_TIE),
        "safety": Decision(figure="safety", tie=_TIE),  # the combined reward of a prompt that is tagged so
    }
)


@dataclass(frozen=True, kw_only=True)
class RewardJudges:
    """Both reward models and how they combine; a judge that took part in training.

    Attributes:
        safety_threshold: as a probability; below it the safety score counts (0.15 in the paper).
        compute: the machine that scores.
    """

    helpfulness: RewardModel
    safety: RewardModel
    safety_threshold: float = 0.15
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    name: str = "reward"

    @property
    def independent(self) -> bool:
        """No: the models were trained by these scores."""
        return False

    @property
    def decides(self) -> Mapping[str, Decision]:
        """The combined reward, on safety prompts the safety score; ties are told in logits."""
        return _DECIDES

    def require_fit(self, policy: Policy) -> None:
        """Refuse judges that read the policy's token ids as other texts.

        Raises:
            TokenizerError: naming the judge and both digests.
        """
        for name, model in self._models():
            require_same_tokenizer(model.tokenizer, f"the {name} reward model", policy.tokenizer, "the policy")

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        """Scores of a pool of answers before the sigmoid; each prompt is computed once for all its answers.

        Returns:
            `helpfulness`, `safety` and `combined` of each answer.

        Raises:
            TokenizerError: an answer's ids belong to another tokenizer than a reward model's.
            NonFiniteError: a score is NaN or infinite; names the prompts' rows.
        """
        self._require_same_ids(answers)
        places: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for i, answer in enumerate(answers):
            places.setdefault((answer.dialogue.id, answer.prompt_ids), []).append(i)
        compute = resolve_compute(self.compute)
        helpfulness = _scores(self.helpfulness, answers, list(places.values()), compute)
        safety = _scores(self.safety, answers, list(places.values()), compute)
        bad = ~(torch.isfinite(helpfulness) & torch.isfinite(safety))
        if bad.any():
            at = bad.nonzero()[:, 0].tolist()
            first = f"helpfulness {float(helpfulness[at[0]])}, safety {float(safety[at[0]])}"
            rows = list(dict.fromkeys(str(answers[i].dialogue.source) for i in at))
            raise NonFiniteError("reward", step=0, value=first, rows=rows)
        tagged = torch.tensor([is_safety_prompt(answer.dialogue) for answer in answers], dtype=torch.bool)
        combined = combined_reward(helpfulness, safety, tagged, self.safety_threshold)
        columns = zip(helpfulness.tolist(), safety.tolist(), combined.tolist(), strict=True)
        return [{"helpfulness": h, "safety": s, "combined": c} for h, s, c in columns]

    def _models(self) -> tuple[tuple[str, RewardModel], ...]:
        return (("helpfulness", self.helpfulness), ("safety", self.safety))

    def _require_same_ids(self, answers: Sequence[Answer]) -> None:
        for name, model in self._models():
            other = next((answer for answer in answers if answer.tokenizer != model.tokenizer.sha256), None)
            if other is not None:
                raise TokenizerError(
                    f"the {name} reward model has the tokenizer {model.tokenizer.sha256[:12]}…, the answer to "
                    f"{other.dialogue.source} was sampled with {other.tokenizer[:12]}…; both must be the same one"
                )


def _scores(
    model: RewardModel, answers: Sequence[Answer], places: Sequence[Sequence[int]], compute: Compute
) -> torch.Tensor:
    """Every answer's score [A], in fp64; `places` are the answers of each prompt."""
    prompts = [answers[group[0]].prompt_ids for group in places]
    options = [[answers[i].token_ids for i in group] for group in places]
    scores = torch.zeros(len(answers), dtype=torch.float64)
    for group, found in zip(places, model.score_ids(prompts, options, compute), strict=True):
        scores[list(group)] = torch.tensor(found, dtype=torch.float64)
    return scores


def is_safety_prompt(prompt: Dialogue) -> bool:
    """Whether the prompt is tagged as adversarial (its campaign is "safety")."""
    return prompt.meta.get("campaign") == "safety"
