"""Attention on the CPU: blocks of queries as plain matrix products, the query heads of a key head side by side.

torch's fused CPU kernel repeats keys for every query head and takes two to three times as long in the
backward pass, in bf16 above all.  Here a block of 128 queries meets only the keys before its end, so
two fifths of a causal square are never computed, and no tensor of all scores exists.

Shapes: B rows times key/value heads, L query positions, G query heads a key head, P positions of a
prefix that all queries see, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 128  # queries a block
_KEPT_LENGTH = 512  # up to this many keys the weights are kept for the backward pass, beyond it computed again


def block_attention(query: Tensor, key: Tensor, value: Tensor, *, group: int, hidden: Tensor | None = None) -> Tensor:
    """Causal attention behind an optional prefix.

    Args:
        query: [B, L G, D], scaled; row l G + g is query head g at position l.
        key: [B, P + L, D], the prefix first.
        value: [B, P + L, D].
        group: G.
        hidden: [B, P] booleans, true where a place of the prefix is padding.

    Returns:
        [B, L G, D].
    """
    out: Tensor = _BlockAttention.apply(query, key, value, group, hidden)
    return out


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, group: int, hidden: Tensor | None) -> Tensor:
        ctx.group = group
        keep = any(ctx.needs_input_grad) and key.shape[1] <= _KEPT_LENGTH
        out, kept = torch.empty_like(query), []
        with torch.autocast("cpu", enabled=False):
            for rows, seen in _blocks(query, key, group):
                weights = _weights(query[:, rows], key[:, seen], group, hidden)
                out[:, rows] = torch.bmm(weights, value[:, seen])
                if keep:
                    kept.append(weights)
        ctx.save_for_backward(query, key, value, hidden, out, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, hidden, out, *kept = ctx.saved_tensors
        wide = torch.promote_types(query.dtype, torch.float32)
        d_query = torch.empty_like(query)
        d_key, d_value = (torch.zeros_like(x, dtype=wide) for x in (key, value))
        with torch.autocast("cpu", enabled=False):
            delta = (grad.to(wide) * out).sum(-1, keepdim=True).to(query.dtype)
            for i, (rows, seen) in enumerate(_blocks(query, key, ctx.group)):
                q, k, v, g = query[:, rows], key[:, seen], value[:, seen], grad[:, rows]
                weights = kept[i] if kept else _weights(q, k, ctx.group, hidden)
                d_value[:, seen] += torch.bmm(weights.transpose(1, 2), g)
                d_scores = torch.bmm(g, v.transpose(1, 2)).sub_(delta[:, rows]).mul_(weights)
                d_query[:, rows] = torch.bmm(d_scores, k)
                d_key[:, seen] += torch.bmm(d_scores.transpose(1, 2), q)
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), None, None


def _blocks(query: Tensor, key: Tensor, group: int) -> list[tuple[slice, slice]]:
    """For each block of queries its rows, and the keys up to its end."""
    length = query.shape[1] // group
    prefix = key.shape[1] - length
    starts = range(0, length, _BLOCK)
    ends = [min(start + _BLOCK, length) for start in starts]
    return [
        (slice(start * group, end * group), slice(0, prefix + end)) for start, end in zip(starts, ends, strict=True)
    ]


def _weights(query: Tensor, key: Tensor, group: int, hidden: Tensor | None) -> Tensor:
    """The attention weights of one block, [B, rows, keys]; the last rows/G keys are the block's own."""
    own = query.shape[1] // group
    scores = torch.bmm(query, key.transpose(1, 2))
    bias = torch.full((own, own), float("-inf"), dtype=query.dtype).triu_(1)
    scores[:, :, -own:].add_(bias.repeat_interleave(group, 0))  # a tenth of what masked_fill_ takes
    if hidden is not None:
        scores[:, :, : hidden.shape[1]].masked_fill_(hidden[:, None, :], float("-inf"))
    return torch.softmax(scores, -1, out=scores)
