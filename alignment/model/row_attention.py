"""Attention of rows as transformers lays them out: padded, over what a cache of its own holds.

Forests are the suite's way (`alignment.model.attention`); this is for callers that bring a cache or a mask of
transformers', and for torch.compile and torch.export, which cannot lay out a forest.

Shapes: B rows of N new tokens, L keys a row (the cache's and the new ones), H query heads, K key/value heads,
D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import Cache

from alignment.errors import ArgumentError


class RowAttention:
    """An `Attend` for B rows side by side in one flat run of B N tokens.

    Args:
        rows: B.
        length: N.
        mask: [B, L] of tokens and padding, [B or 1, 1 or H, N, L] booleans or numbers to add, or None.
        cache: takes the new keys and values and gives all; None where there is no cache.
        documents: [B, N] the number of each token's document in its row, where a row holds several.
    """

    def __init__(
        self, rows: int, length: int, mask: Tensor | None, cache: Cache | None, documents: Tensor | None = None
    ) -> None:
        if mask is not None and mask.ndim == 4 and not (mask.dtype == torch.bool or mask.is_floating_point()):
            raise ArgumentError(
                f"the 4-D attention_mask holds {mask.dtype} numbers; booleans or numbers to add are needed"
            )
        self.rows, self.length, self.mask, self.cache, self.documents = rows, length, mask, cache, documents
        self.past = cache.get_seq_length() if cache is not None else 0
        self._sees: Tensor | None = None  # made for the first layer, used by all

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query [B N, H, D], key and value [B N, K, D] -> [B N, H, D]."""
        q, k, v = (x.view(self.rows, self.length, *x.shape[1:]).transpose(1, 2) for x in (query, key, value))
        if self.cache is not None:
            k, v = self.cache.update(k, v, layer)
        causal, sees = self._plain(), None
        if not causal and self._sees is None:
            self._sees = self._mask(k.shape[2], q.device)
        if self._sees is not None:
            sees = self._sees.to(q.device)
            if sees.dtype != torch.bool:  # the least number of a wider dtype would be -inf, and a row of those NaN
                sees = sees.clamp(min=torch.finfo(q.dtype).min).to(q.dtype)
        grouped = bool(q.shape[1] != k.shape[1])
        out = scaled_dot_product_attention(q, k, v, attn_mask=sees, is_causal=causal, enable_gqa=grouped)
        return out.transpose(1, 2).reshape(query.shape)

    def _plain(self) -> bool:
        """Whether the kernel's own causal mask says it all."""
        return self.mask is None and self.documents is None and isinstance(self.past, int) and self.past == 0

    def _mask(self, keys: int, device: torch.device) -> Tensor:
        """Who sees whom, [B or 1, 1, N, L]; or the caller's own mask."""
        new = self.length
        if self.mask is not None and self.mask.ndim == 4:
            if self.mask.shape[2] != new or self.mask.shape[3] != keys:
                raise ArgumentError(
                    f"the 4-D attention_mask is {tuple(self.mask.shape)}; its last two must be {new} new "
                    f"tokens and {keys} keys"
                )
            return self.mask
        at, places = torch.arange(new, device=device)[:, None] + self.past, torch.arange(keys, device=device)
        sees = (places <= at)[None]
        if self.mask is not None:
            real = self.mask.to(device).bool()
            if isinstance(self.past, int) and real.shape[1] != self.past + new:
                raise ArgumentError(
                    f"attention_mask covers {real.shape[1]} tokens; {self.past} are cached and {new} are new"
                )
            real = pad(real, (0, keys - real.shape[1]))  # a static cache is longer than what it holds
            sees = sees & real[:, None, :]
        if self.documents is not None:
            sees = sees & (self.documents[:, :, None] == self.documents[:, None, :])
        return sees[:, None]  # a row of padding that sees nothing gets zeros from torch's kernels, there as here
