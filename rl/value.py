"""PPO's value function: a reward model's body with a head of its own that starts at 0.

The reward that PPO maximises is whitened, so that 0 is its mean: no constant predicts it better, while the reward
model's own head starts worse than that on another scale.  The paper leaves the value function open; this is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alignment.batch.tree import ForestBatch
from reward.model import LlamaReward, RewardModel


class ValueModel(nn.Module):
    """A scalar for each state, 0 everywhere at the start."""

    def __init__(self, reward_model: RewardModel) -> None:
        super().__init__()
        self.scorer: LlamaReward = copy.deepcopy(reward_model.model)
        self.scorer.requires_grad_(True)
        nn.init.zeros_(self.scorer.score.weight)

    def forward(self, batch: ForestBatch) -> Tensor:
        """Values [N] of the states before a batch's targets, on the whitened reward's scale."""
        return self.scorer.token_scores(batch.token_ids, batch.plan()).index_select(0, batch.predictors)


def answers_as_rows(flat: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Lay per-answer runs of a flat [N] tensor into rows.

    Returns:
        values [B, longest], zero-padded, and the mask of real places.
    """
    longest = max(counts, default=0)
    mask = torch.arange(longest, device=flat.device)[None, :] < torch.tensor(counts, device=flat.device)[:, None]
    rows = flat.new_zeros(len(counts), longest)
    return rows.masked_scatter(mask, flat), mask


def as_rows(figures: Sequence[Sequence[float]]) -> tuple[Tensor, Tensor]:
    """Figures of every answer's tokens as `answers_as_rows` lays them out."""
    flat = torch.tensor([figure for answer in figures for figure in answer], dtype=torch.float32)
    return answers_as_rows(flat, [len(answer) for answer in figures])
