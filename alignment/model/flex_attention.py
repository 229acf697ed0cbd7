"""Attention over a forest by torch's FlexAttention: one fused kernel a layer, for CUDA.

A forest's mask as arithmetic on token indices: number the segments depth first; a segment's
descendants are then the numbers from its own up to where its subtree ends.  A token sees another
if that one's segment is an ancestor of its own (or its own) and the token does not stand behind it
in the flat run, where parents stand before their children.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from alignment.model.forest import Forest


def flex_mask(forest: Forest, device: torch.device | str) -> Any:
    """The forest as a FlexAttention `BlockMask` over its T tokens; blocks that nobody sees are not computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    first, last = subtree_spans(forest)
    of_token = np.repeat(np.arange(len(forest.lengths)), forest.lengths)
    enter, leave = (torch.from_numpy(span[of_token]).to(device) for span in (first, last))

    def sees(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        inside = (enter[key] <= enter[query]) & (enter[query] < leave[key])
        return inside & (key <= query)

    return create_block_mask(sees, None, None, forest.num_tokens, forest.num_tokens, device=device)


def subtree_spans(forest: Forest) -> tuple[np.ndarray, np.ndarray]:
    """Each segment's number in depth-first order, and the number after its last descendant's, [S] each."""
    sizes = np.ones(len(forest.parents), dtype=np.int64)
    for segment in range(len(forest.parents) - 1, -1, -1):
        if forest.parents[segment] >= 0:
            sizes[forest.parents[segment]] += sizes[segment]
    first = np.zeros(len(forest.parents), dtype=np.int64)
    free = {-1: 0}  # the next number to give below each segment
    for segment, parent in enumerate(forest.parents):
        first[segment] = free[parent]
        free[parent] += sizes[segment]
        free[segment] = first[segment] + 1
    return first, first + sizes


def flex(query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float) -> Tensor:
    """Attend: query [T, H, D], key and value [T, K, D] -> [T, H, D]."""
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    attend = _kernel(compiled=query.device.type != "cpu")
    out: Tensor = attend(q, k, v, block_mask=mask, scale=scale, enable_gqa=grouped)
    return out.squeeze(0).transpose(0, 1)


@cache
def _kernel(*, compiled: bool) -> Callable[..., Any]:
    """FlexAttention itself: fused when compiled, the plain formula (slow, exact) otherwise."""
    from torch.nn.attention.flex_attention import flex_attention

    return cast(Callable[..., Any], torch.compile(flex_attention, dynamic=True) if compiled else flex_attention)
