"""Attention over a forest: siblings of like length together, no score computed across documents.

Shapes: T tokens, H query heads, K key/value heads (H a multiple of K), D head width.
`AttentionPlan` is the forest prepared once a forward pass; every layer uses the same plan.

A group holds segments that share all their ancestors (or have none) and are of like length.  Its
rows are padded on the right, which a causal mask never lets a real token see, so a group without
ancestors is one plain causal call and a group with ancestors needs one mask for all its rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from alignment.model.forest import Forest

Backend = Literal["grouped", "dense"]
_MIN_FILL = 0.75  # a segment joins a group if it is at least this share of the group's longest
_MANY_SIBLINGS = 4  # from so many on, siblings share their ancestors' keys instead of each having a copy
_MAX_GROUP_TOKENS = 4096  # keeps a group's scores in cache


@dataclass(frozen=True)
class _Group:
    own: Tensor  # [N, L] flat indices of the segments' tokens, padded by repeating index 0
    prefix: Tensor | None  # flat indices of the ancestors' tokens: [P] if all rows share them, else [N, P], padded
    mask: Tensor | None  # only with a prefix: [L, P + L] booleans, or [N, 1, L, P + L]


@dataclass(frozen=True)
class AttentionPlan:
    """A forest prepared for one device.

    Attributes:
        positions: [T] position of each token.
        groups: the grouped backend's work.
        back: [T] where each token's output stands in the groups' outputs laid end to end.
        dense: [T, T] mask, only for the dense backend.
    """

    positions: Tensor
    groups: tuple[_Group, ...]
    back: Tensor | None
    dense: Tensor | None


def plan_attention(forest: Forest, device: torch.device | str = "cpu", backend: Backend = "grouped") -> AttentionPlan:
    """Prepare a forest for attention; once a forward pass, used by every layer."""
    positions = torch.from_numpy(forest.positions.copy()).to(device)
    if backend == "dense":
        return AttentionPlan(positions, (), None, torch.from_numpy(forest.dense_mask()).to(device))
    siblings: dict[int, list[int]] = defaultdict(list)
    for segment, parent in enumerate(forest.parents):
        if forest.lengths[segment]:
            siblings[parent].append(segment)
    rows: list[tuple[list[int], list[np.ndarray]]] = []  # each group's segments and their prefixes
    few: list[tuple[int, np.ndarray]] = []  # segments with few siblings (a pair's answers): grouped across prompts
    for parent, members in siblings.items():
        prefix = np.zeros(0, dtype=np.int64) if parent < 0 else forest.path(parent)
        if len(prefix) and len(members) < _MANY_SIBLINGS:
            few += [(segment, prefix) for segment in members]
        else:
            rows += [(run, [prefix]) for run in _like_lengths(members, forest.lengths)]
    prefix_of = dict(few)
    prefix_lengths = {segment: len(prefix) for segment, prefix in few}
    for alike in _like_lengths(list(prefix_of), prefix_lengths):
        rows += [(run, [prefix_of[segment] for segment in run]) for run in _like_lengths(alike, forest.lengths)]
    groups: list[_Group] = []
    back = np.zeros(forest.num_tokens, dtype=np.int64)
    done = 0
    for run, prefixes in rows:
        own = _padded([np.asarray(forest.tokens_of(segment), dtype=np.int64) for segment in run])
        for row, segment in enumerate(run):
            back[forest.starts[segment] : forest.starts[segment + 1]] = (
                done + row * own.shape[1] + np.arange(forest.lengths[segment])
            )
        done += own.size
        groups.append(_group(own, prefixes, device))
    return AttentionPlan(positions, tuple(groups), torch.from_numpy(back).to(device), None)


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
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # torch's CPU kernels attend faster in fp32 than in bf16, in the backward pass above all
        with torch.autocast("cpu", enabled=False):
            out = forest_attention(query.float(), key.float(), value.float(), plan, scale)
        return out.to(query.dtype)
    grouped = query.shape[1] != key.shape[1]
    if plan.dense is not None:
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        out = scaled_dot_product_attention(q, k, v, attn_mask=plan.dense, scale=scale, enable_gqa=grouped)
        return out.squeeze(0).transpose(0, 1)
    outputs = []
    for group in plan.groups:
        rows, longest = group.own.shape
        flat = group.own.reshape(-1)
        q = query.index_select(0, flat).view(rows, longest, *query.shape[1:]).transpose(1, 2)
        k = key.index_select(0, flat).view(rows, longest, *key.shape[1:]).transpose(1, 2)
        v = value.index_select(0, flat).view(rows, longest, *value.shape[1:]).transpose(1, 2)
        if group.prefix is None:
            out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
        else:
            out = scaled_dot_product_attention(
                q,
                torch.cat([_before(key, group.prefix, rows), k], dim=2),
                torch.cat([_before(value, group.prefix, rows), v], dim=2),
                attn_mask=group.mask,
                scale=scale,
                enable_gqa=grouped,
            )
        outputs.append(out.transpose(1, 2).reshape(rows * longest, *query.shape[1:]))
    if not outputs:
        return query.new_zeros(query.shape)
    assert plan.back is not None
    return torch.cat(outputs).index_select(0, plan.back)


def _before(states: Tensor, prefix: Tensor, rows: int) -> Tensor:
    """The ancestors' keys or values for every row, [N, K, P, D]."""
    if prefix.dim() == 1:
        return states.index_select(0, prefix).transpose(0, 1).expand(rows, -1, -1, -1)
    picked = states.index_select(0, prefix.reshape(-1))
    return picked.view(*prefix.shape, *states.shape[1:]).transpose(1, 2)


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
            if length >= _MIN_FILL * longest and (len(runs[-1]) + 1) * longest <= _MAX_GROUP_TOKENS:
                runs[-1].append(segment)
                continue
        runs.append([segment])
    return runs


def _group(own: np.ndarray, prefixes: list[np.ndarray], device: torch.device | str) -> _Group:
    """A group of rows with one prefix for all, or one each."""
    indices = torch.from_numpy(own).to(device)
    length = own.shape[1]
    causal = np.tri(length, dtype=bool)
    if len(prefixes) == 1 and len(prefixes[0]) == 0:
        return _Group(indices, None, None)
    if len(prefixes) == 1:
        mask = np.concatenate([np.ones((length, len(prefixes[0])), dtype=bool), causal], axis=1)
        return _Group(indices, torch.from_numpy(prefixes[0]).to(device), torch.from_numpy(mask).to(device))
    padded = _padded(prefixes)
    real = np.arange(padded.shape[1]) < np.asarray([[len(prefix)] for prefix in prefixes])  # [N, P]
    before = np.broadcast_to(real[:, None, None, :], (len(prefixes), 1, length, padded.shape[1]))
    after = np.broadcast_to(causal, (len(prefixes), 1, length, length))
    mask = np.concatenate([before, after], axis=3)
    return _Group(indices, torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device))


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Index rows side by side, [N, longest]; padding repeats index 0."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
