"""PPO's value function, started from a reward model: V(s) = (score(s) - shift) / scale.

The reward that PPO maximises is whitened, so the reward model's score is brought to that scale by the
first batch's mean and deviation; without this the value loss starts at the square of the score's size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignment.batch.tree import ForestBatch
from alignment.train.checkpoints import load_model_tensors, model_tensors
from reward.model import LlamaReward, RewardModel


class ValueModel(nn.Module):
    """A scalar for each state, from a copy of a reward model.

    Attributes:
        scaled: whether it knows the rewards' scale.
    """

    def __init__(self, reward_model: RewardModel) -> None:
        super().__init__()
        self.scorer: LlamaReward = copy.deepcopy(reward_model.model)
        self.scorer.requires_grad_(True)
        self.shift, self.scale = 0.0, 1.0
        self.scaled = False

    def set_scale(self, rewards: Tensor) -> None:
        """Take mean and deviation of the first batch's raw combined rewards [B]."""
        self.shift = float(rewards.mean())
        self.scale = max(float(rewards.std(correction=0)), 1e-3)
        self.scaled = True

    def forward(self, batch: ForestBatch) -> Tensor:
        """Values [N] of the states before a batch's targets."""
        scores = self.scorer.token_scores(batch.token_ids, batch.plan())
        return (scores.index_select(0, batch.predictors) - self.shift) / self.scale


@dataclass(frozen=True)
class SavedValue:
    """A value function as a part of a checkpoint."""

    value: ValueModel

    def tensors(self) -> Mapping[str, Tensor]:
        """Its parameters."""
        return model_tensors(self.value)

    def values(self) -> Mapping[str, Any]:
        """The rewards' scale."""
        return {"shift": self.value.shift, "scale": self.value.scale, "scaled": self.value.scaled}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put both back.

        Raises:
            CheckpointError: the parameters do not fit the model.
        """
        load_model_tensors(self.value, tensors)
        self.value.shift, self.value.scale, self.value.scaled = values["shift"], values["scale"], values["scaled"]


def answers_as_rows(flat: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Lay per-answer runs of a flat [N] tensor into rows.

    Returns:
        values [B, longest], zero-padded, and the mask of real places.
    """
    longest = max(counts, default=0)
    mask = torch.arange(longest, device=flat.device)[None, :] < torch.tensor(counts, device=flat.device)[:, None]
    rows = flat.new_zeros(len(counts), longest)
    return rows.masked_scatter(mask, flat), mask
