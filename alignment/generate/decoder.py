"""The engine's two forward passes: prompts into the cache, and one token a row.

Both run the core's own layers with another attention; P prompts, N rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from alignment.model.attention import forest_attention, plan_attention
from alignment.model.cache import Cache, Store
from alignment.model.forest import Forest
from alignment.model.llama import Attend, Block, LlamaPolicy


def blocks(model: LlamaPolicy) -> list[Block]:
    """The decoder layers."""
    return [cast(Block, layer) for layer in model.model.layers]


class Decoder:
    """Forward passes of one model, as it is."""

    def __init__(self, model: LlamaPolicy) -> None:
        self.model = model
        self.attention = blocks(model)[0].self_attn
        self.scale = self.attention.head_dim**-0.5
        self.device = model.lm_head.weight.device

    def prefill(self, flat: Tensor, forest: Forest, store: Store) -> Tensor:
        """Run prompts as one forest and keep their keys and values.

        Args:
            flat: [T] tokens of P prompts.
            forest: P roots.
            store: takes each layer's keys and values.

        Returns:
            [P, V] logits of each prompt's next token.
        """
        plan = plan_attention(forest, self.device)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            store(layer, key, value)
            return forest_attention(query, key, value, plan, self.scale)

        hidden = self._hidden(flat, plan.positions, attend)
        return self._logits(self._pick(hidden, torch.from_numpy(forest.ends).to(self.device)))

    def step(self, tokens: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """One token a row: [N] tokens at [N] positions of slots 0 … N-1 -> [N, V] logits."""
        return self._logits(self._hidden(tokens, positions, cache.step(positions, self.scale)))

    def _hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        return self.model.model.run(tokens, positions, attend)

    def _pick(self, hidden: Tensor, which: Tensor) -> Tensor:
        return hidden[which]

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden)
