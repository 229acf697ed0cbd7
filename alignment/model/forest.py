"""The forest: the layout of a batch whose segments may share their beginnings.  No torch.

A batch is one flat run of T tokens cut into S segments; each segment has a parent segment or none.
A token attends to the earlier tokens of its own segment and to all tokens of its ancestors, and
its position counts from its root.  So packed documents, preference pairs that share a prompt, and
K samples of one prompt are all one batch shape, and every shared prompt is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alignment.errors import ForestError


@dataclass(frozen=True)
class Forest:
    """Segment lengths and parents; everything else follows from them.

    Attributes:
        lengths: tokens of each segment, [S], each >= 0.
        parents: each segment's parent, an earlier segment, or -1 for a root, [S].

    Raises:
        ForestError: a negative length, or a parent that does not stand before its child.
    """

    lengths: tuple[int, ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.lengths) != len(self.parents):
            raise ForestError(
                f"a forest needs one parent per segment: {len(self.lengths)} lengths, {len(self.parents)} parents"
            )
        for i, (length, parent) in enumerate(zip(self.lengths, self.parents, strict=True)):
            if length < 0:
                raise ForestError(f"segment {i} has length {length}; a length is 0 or more")
            if not -1 <= parent < i:
                raise ForestError(
                    f"segment {i} names parent {parent}; a parent stands before its child, or is -1 for a root"
                )

    @staticmethod
    def roots(lengths: Sequence[int]) -> Forest:
        """A forest of independent sequences (packing without shared prompts)."""
        return Forest(tuple(int(n) for n in lengths), (-1,) * len(lengths))

    @property
    def num_tokens(self) -> int:
        """T, the tokens of the flat run."""
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each segment starts in the flat run, with T at the end, [S + 1]."""
        return np.concatenate([[0], np.cumsum(np.asarray(self.lengths, dtype=np.int64))]).astype(np.int64)

    @cached_property
    def ancestors(self) -> tuple[tuple[int, ...], ...]:
        """Each segment's ancestors, the root first, without itself, [S]."""
        chains: list[tuple[int, ...]] = []
        for parent in self.parents:
            chains.append(() if parent < 0 else (*chains[parent], parent))
        return tuple(chains)

    @cached_property
    def offsets(self) -> np.ndarray:
        """The position of each segment's first token, counted from its root, [S]."""
        offsets = np.zeros(len(self.lengths), dtype=np.int64)
        for i, parent in enumerate(self.parents):
            if parent >= 0:
                offsets[i] = offsets[parent] + self.lengths[parent]
        return offsets

    @cached_property
    def positions(self) -> np.ndarray:
        """Each token's position, counted from its root, [T]."""
        if not self.lengths:
            return np.zeros(0, dtype=np.int64)
        flat = np.arange(self.num_tokens, dtype=np.int64)
        places: np.ndarray = flat - np.repeat(self.starts[:-1] - self.offsets, self.lengths)
        return places

    @cached_property
    def predecessors(self) -> np.ndarray:
        """For each token the token whose hidden state predicts it, or -1 at a root's start, [T].

        The first token of a child is predicted by the last token of its nearest ancestor that is
        not empty; so one hidden state can predict several children's first tokens.
        """
        before = np.arange(-1, self.num_tokens - 1, dtype=np.int64)
        for i, length in enumerate(self.lengths):
            if length == 0:
                continue
            first = int(self.starts[i])
            before[first] = -1
            for ancestor in reversed(self.ancestors[i]):
                if self.lengths[ancestor]:
                    before[first] = self.starts[ancestor + 1] - 1
                    break
        return before

    @cached_property
    def ends(self) -> np.ndarray:
        """The last token of each segment's path (its nearest non-empty ancestor's if it is empty), or -1, [S]."""
        ends = np.full(len(self.lengths), -1, dtype=np.int64)
        for i, length in enumerate(self.lengths):
            if length:
                ends[i] = self.starts[i + 1] - 1
            elif self.parents[i] >= 0:
                ends[i] = ends[self.parents[i]]
        return ends

    def tokens_of(self, segment: int) -> range:
        """The flat indices of one segment's tokens."""
        return range(int(self.starts[segment]), int(self.starts[segment + 1]))

    def path(self, segment: int) -> np.ndarray:
        """The flat indices of the whole sequence from the root to a segment's end."""
        chain = (*self.ancestors[segment], segment)
        return np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in chain]).astype(np.int64)

    def dense_mask(self) -> np.ndarray:
        """Who attends to whom: [T, T] booleans, row = query.  The definition that backends are tested against."""
        mask = np.zeros((self.num_tokens, self.num_tokens), dtype=bool)
        for i in range(len(self.lengths)):
            own = np.asarray(self.tokens_of(i), dtype=np.int64)
            for ancestor in self.ancestors[i]:
                mask[np.ix_(own, np.asarray(self.tokens_of(ancestor), dtype=np.int64))] = True
            mask[np.ix_(own, own)] = np.tri(len(own), dtype=bool)
        return mask
