"""What PPO's updates are made of: an iteration's answers, token by token, and bins of them as forests.

B answers, N tokens of the longest one; of a bin: b answers, n target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.batch.steps import pack
from alignment.batch.tree import ForestBatch, Tree, make_batch
from rl.settings.ppo import PACK_TOKENS


@dataclass(frozen=True, kw_only=True)
class AnswerTokens:
    """What the three models say of every token of the answers, on the CPU.

    Attributes:
        log_probs: [B, N] under the policy that sampled them, in nats.
        reference: [B, N] under the policy at the start of PPO.
        values: [B, N] of the states before each token.
        mask: [B, N] True at real tokens.
    """

    log_probs: Tensor
    reference: Tensor
    values: Tensor
    mask: Tensor


@dataclass(frozen=True, kw_only=True)
class Experience:
    """An iteration's answers with everything the update needs.

    Attributes:
        trees: [B] prompt -> answer, every token of the answer a target.
        advantages, returns: [B, N].
    """

    trees: tuple[Tree, ...]
    tokens: AnswerTokens
    advantages: Tensor
    returns: Tensor


@dataclass(frozen=True, kw_only=True)
class AnswerBatch:
    """One bin of an iteration's answers.

    Attributes:
        forest: prompt -> answer, b times.
        members: [b] the answers' places in the iteration.
        counts: [b] tokens of each answer; their sum is n.
    """

    forest: ForestBatch
    members: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of the forest."""
        return self.forest.num_tokens

    @property
    def rows(self) -> tuple[str, ...]:
        """Where the prompts came from ("file:line")."""
        return self.forest.rows

    def to(self, device: torch.device) -> AnswerBatch:
        """The batch on another device."""
        return AnswerBatch(forest=self.forest.to(device), members=self.members, counts=self.counts)


def answer_batches(trees: Sequence[Tree], members: Sequence[int]) -> list[AnswerBatch]:
    """The answers of these places, packed."""
    chosen = [trees[i] for i in members]
    capacity = max([PACK_TOKENS, *(tree.num_tokens for tree in chosen)])
    return [
        AnswerBatch(
            forest=make_batch([chosen[i] for i in bin_]),
            members=tuple(members[i] for i in bin_),
            counts=tuple(len(chosen[i].segments[1]) for i in bin_),
        )
        for bin_ in pack(chosen, capacity)
    ]
