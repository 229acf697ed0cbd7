"""Attention over a forest: siblings of like length together, no score computed across documents.

Shapes: T tokens, H query heads, K key/value heads (H a multiple of K), D head width.
`AttentionPlan` is the forest prepared once a forward pass; every layer uses the same plan.

A group holds segments of like length: roots, the answers of one prompt, or answers of prompts of
like length.  Its rows are padded on the right, which a causal mask never lets a real token see, so
without ancestors a group is one plain causal call.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from alignment.model.block_attention import block_attention
from alignment.model.flex_attention import flex, flex_mask
from alignment.model.forest import Forest

Backend = Literal["blocks", "sdpa", "flex", "dense"]
_MIN_FILL = 0.75  # a segment joins a group if it is at least this share of the group's longest
_SHORT = 64  # segments and prefixes up to here go together however unlike: a call costs more than their padding
_MANY_SIBLINGS = 4  # from so many on, siblings make groups of their own; fewer are grouped across prompts
_MAX_GROUP_TOKENS = 2048  # keeps a group's scores in cache
_preferred: Backend | None = None


@dataclass(frozen=True)
class _Group:
    own: Tensor  # [N, L] flat indices of the segments' tokens, padded by repeating index 0
    seen: Tensor  # [N, P + L] flat indices of the ancestors' tokens, padded likewise, and of the segments' own
    padding: Tensor | None  # [N, P] booleans, true where a place of the prefix is padding
    mask: Tensor | None  # only for "sdpa" with a prefix: who sees whom, [L, P + L] or [N, 1, L, P + L]


@dataclass(frozen=True)
class AttentionPlan:
    """A forest prepared for one device and one backend.

    Attributes:
        backend: "blocks" (`block_attention`; the CPU's), "sdpa" (torch's fused kernels, group by group), "flex"
            (one FlexAttention kernel; CUDA's) or "dense" (one mask over all, the definition).
        positions: [T] position of each token.
        groups: the grouped backends' work.
        back: [T] where each token's output stands in the groups' outputs laid end to end.
        mask: [T, T] booleans for the dense backend, a `BlockMask` for flex.
    """

    backend: Backend
    positions: Tensor
    groups: tuple[_Group, ...]
    back: Tensor | None
    mask: Any


def plan_attention(forest: Forest, device: torch.device | str = "cpu", backend: Backend | None = None) -> AttentionPlan:
    """Prepare a forest for attention; once a forward pass, used by every layer.

    Args:
        forest: the batch's layout.
        device: where the batch is.
        backend: by default the one that `prefer_backend` named, else "blocks" on the CPU and "sdpa" elsewhere.
    """
    backend = backend or _preferred or ("blocks" if torch.device(device).type == "cpu" else "sdpa")
    positions = torch.from_numpy(forest.positions.copy()).to(device)
    if backend == "dense":
        return AttentionPlan(backend, positions, (), None, torch.from_numpy(forest.dense_mask()).to(device))
    if backend == "flex" and forest.num_tokens:
        return AttentionPlan(backend, positions, (), None, flex_mask(forest, device))
    groups: list[_Group] = []
    back = np.zeros(forest.num_tokens, dtype=np.int64)
    done = 0
    for run, prefixes in _rows(forest):
        own = _padded([np.asarray(forest.tokens_of(segment), dtype=np.int64) for segment in run])
        for row, segment in enumerate(run):
            back[forest.starts[segment] : forest.starts[segment + 1]] = (
                done + row * own.shape[1] + np.arange(forest.lengths[segment])
            )
        done += own.size
        groups.append(_group(own, prefixes, device, backend))
    return AttentionPlan(backend, positions, tuple(groups), torch.from_numpy(back).to(device), None)


def prefer_backend(backend: Backend | None) -> None:
    """Choose the backend of plans that name none, in this process; None goes back to the device's own."""
    global _preferred
    _preferred = backend


def _rows(forest: Forest) -> list[tuple[list[int], list[np.ndarray]]]:
    """Each group's segments with the flat indices of their ancestors' tokens."""
    siblings: dict[int, list[int]] = defaultdict(list)
    for segment, parent in enumerate(forest.parents):
        if forest.lengths[segment]:
            siblings[parent].append(segment)
    rows: list[tuple[list[int], list[np.ndarray]]] = []
    few: dict[int, np.ndarray] = {}  # segments with few siblings (a pair's answers): grouped across prompts
    for parent, members in siblings.items():
        prefix = np.zeros(0, dtype=np.int64) if parent < 0 else forest.path(parent)
        if len(prefix) and len(members) < _MANY_SIBLINGS:
            few |= dict.fromkeys(members, prefix)
        else:
            rows += [(run, [prefix] * len(run)) for run in _like_lengths(members, forest.lengths)]
    for alike in _like_lengths(list(few), {segment: len(prefix) for segment, prefix in few.items()}):
        rows += [(run, [few[segment] for segment in run]) for run in _like_lengths(alike, forest.lengths)]
    return rows


@torch.compiler.disable  # type: ignore[untyped-decorator]  # every forest is laid out anew; what stands around it is compiled once
def forest_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scale: float | None = None
) -> Tensor:
    """Attend within the forest.

    Args:
        query: [T, H, D], rotated.
        key: [T, K, D], rotated.
        value: [T, K, D].
        plan: from `plan_attention`.
        scale: of the scores; 1/sqrt(D) by default.

    Returns:
        [T, H, D].
    """
    scale = 1.0 / math.sqrt(query.shape[2]) if scale is None else scale
    if plan.backend == "dense":
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        grouped = query.shape[1] != key.shape[1]
        out = scaled_dot_product_attention(q, k, v, attn_mask=plan.mask, scale=scale, enable_gqa=grouped)
        return out.squeeze(0).transpose(0, 1)
    if plan.backend == "flex" and plan.mask is not None:
        return flex(query, key, value, plan.mask, scale)
    if not plan.groups:
        return query.new_zeros(query.shape)
    attend = _attend_in_blocks if plan.backend == "blocks" else _attend_by_sdpa
    outputs = [attend(query, key, value, group, scale) for group in plan.groups]
    assert plan.back is not None
    return torch.cat(outputs).index_select(0, plan.back)


def _attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, group: _Group, scale: float) -> Tensor:
    """One group's outputs, [N L, H, D]."""
    rows, length = group.own.shape
    heads, kv_heads, width = query.shape[1], key.shape[1], query.shape[2]
    shared = heads // kv_heads
    q = (query.index_select(0, group.own.reshape(-1)) * scale).view(rows, length, kv_heads, shared, width)
    k, v = (x.index_select(0, group.seen.reshape(-1)).view(rows, -1, kv_heads, width) for x in (key, value))
    out = block_attention(
        q.transpose(1, 2).reshape(rows * kv_heads, length * shared, width),
        k.transpose(1, 2).reshape(rows * kv_heads, -1, width),
        v.transpose(1, 2).reshape(rows * kv_heads, -1, width),
        group=shared,
        hidden=None if group.padding is None else group.padding.repeat_interleave(kv_heads, 0),
    )
    return out.view(rows, kv_heads, length, shared, width).transpose(1, 2).reshape(rows * length, heads, width)


def _attend_by_sdpa(query: Tensor, key: Tensor, value: Tensor, group: _Group, scale: float) -> Tensor:
    """One group's outputs, [N L, H, D]."""
    rows, length = group.own.shape
    q = query.index_select(0, group.own.reshape(-1)).view(rows, length, *query.shape[1:]).transpose(1, 2)
    k, v = (
        x.index_select(0, group.seen.reshape(-1)).view(rows, -1, *x.shape[1:]).transpose(1, 2) for x in (key, value)
    )
    grouped = query.shape[1] != key.shape[1]
    out = scaled_dot_product_attention(
        q, k, v, attn_mask=group.mask, is_causal=group.mask is None, scale=scale, enable_gqa=grouped
    )
    return out.transpose(1, 2).reshape(rows * length, *query.shape[1:])


def register_forest_attention() -> str:
    """Offer the same attention to transformers' own models, as `attn_implementation="forest"`.

    A model loaded so takes `forest_plan=plan` and `position_ids=plan.positions[None]` beside one
    row of `input_ids` [1, T]; without a plan it attends causally over its row.

    Returns:
        The name to load with.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register("forest", _transformers_attention)
    AttentionMaskInterface.register("forest", _no_mask)
    return "forest"


def _transformers_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    forest_plan: AttentionPlan | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' calling convention: [1, H, T, D] in, [1, T, H, D] out."""
    if forest_plan is None:
        causal = query.shape[2] > 1
        grouped = query.shape[1] != key.shape[1]
        out = scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scaling, enable_gqa=grouped)
        return out.transpose(1, 2).contiguous(), None
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    return forest_attention(q, k, v, forest_plan, scaling).unsqueeze(0), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _like_lengths(members: list[int], lengths: Mapping[int, int] | Sequence[int]) -> list[list[int]]:
    """Cut segments, the longest first, into runs whose padding stays small."""
    runs: list[list[int]] = []
    for segment in sorted(members, key=lambda member: (-lengths[member], member)):
        length = lengths[segment]
        if runs:
            longest = lengths[runs[-1][0]]
            alike = length >= _MIN_FILL * longest or longest <= _SHORT
            if alike and (len(runs[-1]) + 1) * longest <= _MAX_GROUP_TOKENS:
                runs[-1].append(segment)
                continue
        runs.append([segment])
    return runs


def _group(own: np.ndarray, prefixes: list[np.ndarray], device: torch.device | str, backend: Backend) -> _Group:
    """A group of rows, each with its prefix."""
    indices = torch.from_numpy(own).to(device)
    prefix = _padded(prefixes)
    if not prefix.shape[1]:
        return _Group(indices, indices, None, None)
    real = np.arange(prefix.shape[1]) < np.asarray([[len(path)] for path in prefixes])  # [N, P]
    padding = None if real.all() else torch.from_numpy(~real).to(device)
    mask = None
    if backend == "sdpa":
        rows, length = own.shape
        causal = np.tri(length, dtype=bool)
        if padding is None:
            seen = np.concatenate([np.ones((length, prefix.shape[1]), dtype=bool), causal], axis=1)
        else:
            before = np.broadcast_to(real[:, None, None, :], (rows, 1, length, prefix.shape[1]))
            seen = np.concatenate([before, np.broadcast_to(causal, (rows, 1, length, length))], axis=3)
        mask = torch.from_numpy(seen).to(device)
    return _Group(indices, torch.from_numpy(np.concatenate([prefix, own], axis=1)).to(device), padding, mask)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Index rows side by side, [N, longest]; padding repeats index 0."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
