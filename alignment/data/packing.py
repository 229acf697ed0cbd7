"""Packing: trees of segments into forest batches of a bounded length, nothing lost and nothing doubled.

A `Tree` is what belongs together (a document, a dialogue, a prompt with its answers); `pack` puts
whole trees into bins by first-fit-decreasing; `ForestBatch` is a bin as tensors.
T tokens, N targets (tokens that carry loss), S segments.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from alignment.errors import DataError
from alignment.model.forest import Forest
from alignment.randomness import named_generator

if TYPE_CHECKING:
    import torch

    from alignment.model.attention import AttentionPlan


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Segments that stay together.

    Attributes:
        segments: token ids of each segment, int32.
        trained: for each segment, which tokens carry loss, bool.
        parents: each segment's parent within the tree, -1 for the root.
        rows: where the tree came from ("file:line").
        labels: numbers that ride along for the loss (a pair's margin and safety labels).
    """

    segments: tuple[np.ndarray, ...]
    trained: tuple[np.ndarray, ...]
    parents: tuple[int, ...]
    rows: tuple[str, ...] = ()
    labels: tuple[float, ...] = ()

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of all segments."""
        return sum(len(segment) for segment in self.segments)

    @staticmethod
    def sequence(token_ids: Sequence[int], trained: Sequence[bool], row: str = "") -> Tree:
        """A tree of one segment."""
        return Tree(
            segments=(np.asarray(token_ids, dtype=np.int32),),
            trained=(np.asarray(trained, dtype=bool),),
            parents=(-1,),
            rows=(row,) if row else (),
        )


@dataclass(frozen=True, kw_only=True)
class ForestBatch:
    """One bin, ready for a model.

    Attributes:
        token_ids: [T] int64.
        forest: the layout.
        targets: [N] flat indices of the tokens that carry loss (each has a predecessor).
        predictors: [N] flat indices of the tokens whose hidden states predict them.
        first_segments: index of each tree's first segment in the forest.
        rows: where the trees came from.
    """

    token_ids: torch.Tensor
    forest: Forest
    targets: torch.Tensor
    predictors: torch.Tensor
    first_segments: tuple[int, ...]
    rows: tuple[str, ...]
    trees: tuple[Tree, ...]

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.forest.num_tokens

    @property
    def num_targets(self) -> int:
        """N."""
        return int(self.targets.shape[0])

    def plan(self) -> AttentionPlan:
        """The forest prepared for the batch's device."""
        from alignment.model.attention import plan_attention

        return plan_attention(self.forest, self.token_ids.device)

    def to(self, device: torch.device) -> ForestBatch:
        """The batch on another device."""
        if self.token_ids.device == device:
            return self
        return ForestBatch(
            token_ids=self.token_ids.to(device),
            forest=self.forest,
            targets=self.targets.to(device),
            predictors=self.predictors.to(device),
            first_segments=self.first_segments,
            rows=self.rows,
            trees=self.trees,
        )


def make_batch(trees: Sequence[Tree]) -> ForestBatch:
    """Lay trees side by side as one forest."""
    import torch

    lengths: list[int] = []
    parents: list[int] = []
    firsts: list[int] = []
    for tree in trees:
        base = len(lengths)
        firsts.append(base)
        lengths += [len(segment) for segment in tree.segments]
        parents += [parent + base if parent >= 0 else -1 for parent in tree.parents]
    forest = Forest(tuple(lengths), tuple(parents))
    segments = [segment for tree in trees for segment in tree.segments]
    masks = [mask for tree in trees for mask in tree.trained]
    ids = np.concatenate(segments).astype(np.int64) if segments else np.zeros(0, dtype=np.int64)
    trained = np.concatenate(masks) if masks else np.zeros(0, dtype=bool)
    before = forest.predecessors
    targets = np.flatnonzero(trained & (before >= 0))
    return ForestBatch(
        token_ids=torch.from_numpy(ids),
        forest=forest,
        targets=torch.from_numpy(targets),
        predictors=torch.from_numpy(before[targets]),
        first_segments=tuple(firsts),
        rows=tuple(row for tree in trees for row in tree.rows),
        trees=tuple(trees),
    )


def pack(trees: Sequence[Tree], capacity: int) -> list[list[int]]:
    """First-fit-decreasing: indices of the trees in each bin.

    Args:
        capacity: tokens a bin holds.

    Returns:
        Bins in the order in which they were opened; each tree stands in exactly one.

    Raises:
        DataError: a tree is longer than a bin.
    """
    order = sorted(range(len(trees)), key=lambda i: (-trees[i].num_tokens, i))
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), sorted: the fullest bin that fits is found by bisection
    for i in order:
        need = trees[i].num_tokens
        if need > capacity:
            where = f" ({trees[i].rows[0]})" if trees[i].rows else ""
            raise DataError(f"a packed row has {need} tokens{where}, a pack holds {capacity}; raise pack_length")
        at = bisect_left(room, (need, -1))
        if at < len(room):
            free, index = room.pop(at)
        else:
            free, index = capacity, len(bins)
            bins.append([])
        bins[index].append(i)
        if free - need > 0:
            insort(room, (free - need, index))
    return bins


def packing_efficiency(trees: Sequence[Tree], bins: Sequence[Sequence[int]], capacity: int) -> float:
    """Share of the bins' tokens that is used."""
    return sum(tree.num_tokens for tree in trees) / max(len(bins) * capacity, 1)


def epoch_order(num_bins: int, *, seed: int, name: str, epoch: int) -> np.ndarray:
    """The order of the bins in one epoch; depends on nothing but its name."""
    return named_generator(seed, name, "epoch", epoch).permutation(num_bins)


class PackedEpochs:
    """Steps over packed trees: which bins each optimizer step takes.

    Args:
        trees: everything to train on.
        capacity: tokens of a bin.
        batch_size: bins a step; the last step of all may take fewer, so that nothing is lost.
        epochs: passes; may be fractional.
    """

    def __init__(
        self, trees: Sequence[Tree], *, capacity: int, batch_size: int, epochs: float, seed: int, name: str
    ) -> None:
        self.trees, self.batch_size, self.seed, self.name = trees, batch_size, seed, name
        self.bins = pack(trees, capacity)
        self.efficiency = packing_efficiency(trees, self.bins, capacity)
        self.total_bins = max(1, round(len(self.bins) * epochs)) if self.bins else 0
        self.num_steps = -(-self.total_bins // batch_size)
        self._orders: dict[int, np.ndarray] = {}

    def __call__(self, step: int) -> list[ForestBatch]:
        """The forest batches of a step, counted from 0."""
        first = step * self.batch_size
        wanted = range(first, min(first + self.batch_size, self.total_bins))
        return [make_batch([self.trees[i] for i in self.bins[self._bin(position)]]) for position in wanted]

    def _bin(self, position: int) -> int:
        epoch, within = divmod(position, len(self.bins))
        if epoch not in self._orders:
            self._orders = {epoch: epoch_order(len(self.bins), seed=self.seed, name=self.name, epoch=epoch)}
        return int(self._orders[epoch][within])


class ShuffledEpochs:
    """Steps of a fixed number of trees (pairs, rollouts), each step packed on its own.

    Args:
        batch_size: trees a step; the last step of all may take fewer, so that nothing is lost.
    """

    def __init__(
        self, trees: Sequence[Tree], *, capacity: int, batch_size: int, epochs: float, seed: int, name: str
    ) -> None:
        self.trees, self.capacity, self.batch_size, self.seed, self.name = trees, capacity, batch_size, seed, name
        self.total = max(1, round(len(trees) * epochs)) if trees else 0
        self.num_steps = -(-self.total // batch_size)
        self._orders: dict[int, np.ndarray] = {}

    def __call__(self, step: int) -> list[ForestBatch]:
        """The forest batches of a step, counted from 0."""
        first = step * self.batch_size
        chosen = [self.trees[self._tree(at)] for at in range(first, min(first + self.batch_size, self.total))]
        return [make_batch([chosen[i] for i in bin_]) for bin_ in pack(chosen, self.capacity)]

    def _tree(self, position: int) -> int:
        epoch, within = divmod(position, len(self.trees))
        if epoch not in self._orders:
            self._orders = {epoch: epoch_order(len(self.trees), seed=self.seed, name=self.name, epoch=epoch)}
        return int(self._orders[epoch][within])
