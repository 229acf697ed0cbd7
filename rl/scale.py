"""The reward that PPO maximises before the KL: standardised over the batch or over all so far, less what is penalised.

B answers of an iteration.  The paper whitens and does not say over what (Llama 2 paper, 3.2.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rl.objective import whiten
from rl.rollout import Rollout
from rl.settings import PpoSettings

_EPS = 1e-8  # as in `whiten`


class RewardScale:
    """Standardises rewards: each batch by itself, or by the mean and variance of all rewards of this training.

    Args:
        over: "batch" or "running"; the running figures include the batch in hand, so that the first batch is whitened
            alike by both.
    """

    def __init__(self, over: Literal["batch", "running"]) -> None:
        self.over = over
        self.count, self.mean, self.squares = 0, 0.0, 0.0  # squares: summed squared distances to the mean

    def __call__(self, rewards: Tensor) -> Tensor:
        """Rewards [B] before the sigmoid -> [B] standardised."""
        if self.over == "batch":
            return whiten(rewards)
        self._add(rewards.double())
        spread = math.sqrt(self.squares / self.count + _EPS)
        return ((rewards.double() - self.mean) / spread).to(rewards.dtype)

    def _add(self, rewards: Tensor) -> None:
        """Merge a batch's moments into the running ones (Chan, Golub & LeVeque 1979, eq. 2.1)."""
        new, mean = len(rewards), float(rewards.mean())
        squares, apart, both = float((rewards - mean).square().sum()), mean - self.mean, self.count + new
        self.squares += squares + apart * apart * self.count * new / both
        self.mean += apart * new / both
        self.count = both

    def tensors(self) -> Mapping[str, Tensor]:
        """None: its state is three numbers."""
        return {}

    def values(self) -> Mapping[str, Any]:
        """The running figures; of batches by themselves there is nothing to remember."""
        if self.over == "batch":
            return {}
        return {"reward_scale": {"count": self.count, "mean": self.mean, "squares": self.squares}}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put them back."""
        if self.over == "running":
            found = values["reward_scale"]
            self.count, self.mean, self.squares = int(found["count"]), float(found["mean"]), float(found["squares"])


def was_cut(rollouts: Sequence[Rollout]) -> Tensor:
    """[B] 1 where the answer was cut at the limit, else 0."""
    return torch.tensor([float(rollout.samples[0].finish_reason != "stop") for rollout in rollouts])


def penalties(rollouts: Sequence[Rollout], settings: PpoSettings) -> Tensor:
    """[B] what is taken from the standardised reward: of answers without an end, and of tokens beyond a length."""
    taken = settings.missing_eos_penalty * was_cut(rollouts)
    if settings.length_penalty is not None:
        lengths = torch.tensor([float(len(rollout.samples[0].token_ids)) for rollout in rollouts])
        taken = taken + settings.length_penalty.per_token * (lengths - settings.length_penalty.over).clamp_min(0.0)
    return taken
