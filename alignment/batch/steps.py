"""Packing: trees into bins of a bounded length, nothing lost and nothing doubled, and bins into optimizer steps.

`pack` puts whole trees into bins, the fullest that fits first (best-fit-decreasing).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.errors import DataError
from alignment.randomness import named_generator


def pack(trees: Sequence[Tree], capacity: int) -> list[list[int]]:
    """Best-fit-decreasing: indices of the trees in each bin.

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
