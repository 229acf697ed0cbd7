"""Packing: trees into bins of a bounded length, nothing lost and nothing doubled, and bins into optimizer steps.

`pack` puts whole trees (or the examples that hold them) into bins, the fullest that fits first (best-fit-decreasing).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from alignment.errors import DataError
from alignment.randomness import named_generator


class Packable(Protocol):
    """What a bin is filled with: a tree, or an example that holds one."""

    @property
    def num_tokens(self) -> int:
        """Tokens that it takes of a bin."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Where it came from ("file:line")."""


Item = TypeVar("Item", bound=Packable)
Batch = TypeVar("Batch")


def pack(items: Sequence[Packable], capacity: int) -> list[list[int]]:
    """Best-fit-decreasing: indices of the items in each bin.

    Args:
        capacity: tokens a bin holds.

    Returns:
        Bins in the order in which they were opened; each item stands in exactly one.

    Raises:
        DataError: an item is longer than a bin.
    """
    order = sorted(range(len(items)), key=lambda i: (-items[i].num_tokens, i))
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), sorted: the fullest bin that fits is found by bisection
    for i in order:
        need = items[i].num_tokens
        if need > capacity:
            where = f" ({items[i].rows[0]})" if items[i].rows else ""
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


def packing_efficiency(items: Sequence[Packable], bins: Sequence[Sequence[int]], capacity: int) -> float:
    """Share of the bins' tokens that is used."""
    return sum(item.num_tokens for item in items) / max(len(bins) * capacity, 1)


def epoch_order(num_units: int, *, seed: int, name: str, epoch: int) -> np.ndarray:
    """The order of the units in one epoch; depends on nothing but its name."""
    return named_generator(seed, name, "epoch", epoch).permutation(num_units)


class Steps(Generic[Item, Batch]):
    """Which forests each optimizer step takes: a function of the step's number and of nothing else.

    Args:
        items: everything to train on: trees, or examples that hold one each.
        collate: makes a batch of a bin's items.
        capacity: tokens of a bin.
        unit: what a step takes `batch_size` of: "bins" of all items, packed once (pretraining, SFT), or "items",
            which each step packs on its own (pairs, which the paper counts).
        batch_size: units a step; the last step of all may take fewer, so that nothing is lost.
        epochs: passes; may be fractional.
        max_steps: no more steps than this, whatever the epochs say.
        weights: how much of `batch_size` each unit takes, where that is not one: a step takes the next units until
            another one would be too much, and at least one.  Where the unit is an item.
        name: names the random order.

    Attributes:
        num_steps: optimizer steps.
        total: units that all epochs take.
        efficiency: share of the bins' tokens that is used, where the unit is a bin; else 1.

    Raises:
        DataError: an item is longer than a bin.
    """

    def __init__(
        self,
        items: Sequence[Item],
        collate: Callable[[Sequence[Item]], Batch],
        *,
        capacity: int,
        unit: Literal["bins", "items"],
        batch_size: int,
        epochs: float,
        seed: int,
        name: str,
        max_steps: int | None = None,
        weights: Sequence[int] | None = None,
    ) -> None:
        self.items, self.collate, self.capacity, self.unit = items, collate, capacity, unit
        self.batch_size, self.seed, self.name = batch_size, seed, name
        self.units = pack(items, capacity) if unit == "bins" else [[i] for i in range(len(items))]
        self.efficiency = packing_efficiency(items, self.units, capacity) if unit == "bins" else 1.0
        self.total = max(1, round(len(self.units) * epochs)) if self.units else 0
        self._orders: dict[int, np.ndarray] = {}
        self._firsts = self._weighed(weights) if weights is not None else range(0, self.total, batch_size)
        self.num_steps = min(len(self._firsts), max_steps or len(self._firsts))

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step, counted from 0."""
        end = self._firsts[step + 1] if step + 1 < len(self._firsts) else self.total
        taken = [self._unit(place) for place in range(self._firsts[step], end)]
        if self.unit == "bins":
            return [self.collate([self.items[i] for i in members]) for members in taken]
        chosen = [self.items[i] for members in taken for i in members]
        return [self.collate([chosen[i] for i in members]) for members in pack(chosen, self.capacity)]

    def _weighed(self, weights: Sequence[int]) -> list[int]:
        """The place of each step's first unit."""
        firsts: list[int] = []
        taken = 0
        for place in range(self.total):
            (item,) = self._unit(place)
            if not firsts or taken + weights[item] > self.batch_size:
                firsts.append(place)
                taken = 0
            taken += weights[item]
        return firsts

    def _unit(self, place: int) -> list[int]:
        epoch, within = divmod(place, len(self.units))
        if epoch not in self._orders:
            self._orders = {epoch: epoch_order(len(self.units), seed=self.seed, name=self.name, epoch=epoch)}
        return self.units[int(self._orders[epoch][within])]
