"""Rollouts: sampled answers scored by both reward models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from alignment.errors import NonFiniteError
from alignment.generate.sampler import Sample
from alignment.policy.pairing import require_same_tokenizer
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.compute import Compute
from reward.model import RewardModel
from rl.objective import combined_reward


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One prompt's sampled answers and their scores.

    Attributes:
        prompt: the dialogue, ending with the user.
        prompt_ids: its tokens.
        samples: K answers.
        texts: [K] their texts, stripped.
        helpfulness, safety: [K] reward scores before the sigmoid.
        combined: [K] the combined reward, before whitening.
    """

    prompt: Dialogue
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    texts: tuple[str, ...]
    helpfulness: tuple[float, ...]
    safety: tuple[float, ...]
    combined: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The two reward models and how they combine."""

    helpfulness: RewardModel
    safety: RewardModel
    safety_threshold: float

    def require_fit(self, policy: Policy) -> None:
        """Refuse judges that read the policy's token ids as other texts.

        Raises:
            TokenizerError: naming the judge and both digests.
        """
        for name, judge in (("helpfulness", self.helpfulness), ("safety", self.safety)):
            require_same_tokenizer(judge.tokenizer, f"the {name} reward model", policy.tokenizer, "the policy")


def score_rollouts(
    prompts: Sequence[tuple[Dialogue, tuple[int, ...]]],
    samples: Sequence[Sequence[Sample]],
    policy: Policy,
    judges: Judges,
    compute: Compute,
    *,
    step: int = 0,
) -> list[Rollout]:
    """Score every answer with both reward models; each prompt is computed once a model.

    Raises:
        NonFiniteError: a score is NaN or infinite; names the prompts' rows.
    """
    prompt_ids = [ids for _, ids in prompts]
    answers = [[sample.token_ids for sample in options] for options in samples]
    helpfulness = judges.helpfulness.score_ids(prompt_ids, answers, compute)
    safety = judges.safety.score_ids(prompt_ids, answers, compute)
    rollouts = []
    for (prompt, ids), options, helpful, safe in zip(prompts, samples, helpfulness, safety, strict=True):
        h, s = torch.tensor(helpful, dtype=torch.float64), torch.tensor(safe, dtype=torch.float64)
        if not (torch.isfinite(h).all() and torch.isfinite(s).all()):
            raise NonFiniteError("reward", step=step, value=f"{helpful} {safe}", rows=[str(prompt.source)])
        tagged = torch.full(h.shape, is_safety_prompt(prompt), dtype=torch.bool)
        combined = combined_reward(h, s, tagged, judges.safety_threshold)
        rollouts.append(
            Rollout(
                prompt=prompt,
                prompt_ids=ids,
                samples=tuple(options),
                texts=tuple(policy.tokenizer.decode(sample.token_ids).strip() for sample in options),
                helpfulness=tuple(helpful),
                safety=tuple(safe),
                combined=tuple(combined.tolist()),
            )
        )
    return rollouts


def is_safety_prompt(prompt: Dialogue) -> bool:
    """Whether the prompt is tagged as adversarial (its campaign is "safety")."""
    return prompt.meta.get("campaign") == "safety"
