"""Trees of segments, and a bin of them as one forest of tensors.

A `Tree` is what belongs together (a document, a dialogue, a prompt with its answers); `ForestBatch` is a bin of trees
as tensors.  T tokens, N targets (tokens that carry loss), S segments, R trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from alignment.model.forest import Forest

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
    """

    segments: tuple[np.ndarray, ...]
    trained: tuple[np.ndarray, ...]
    parents: tuple[int, ...]
    rows: tuple[str, ...] = ()

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of all segments."""
        return sum(len(segment) for segment in self.segments)

    @staticmethod
    def sequence(token_ids: Sequence[int] | np.ndarray, trained: Sequence[bool] | np.ndarray, row: str = "") -> Tree:
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
        firsts: [R] index of each tree's first segment among the forest's [S].
        rows: where the trees came from.
    """

    token_ids: torch.Tensor
    forest: Forest
    targets: torch.Tensor
    predictors: torch.Tensor
    firsts: torch.Tensor
    rows: tuple[str, ...]

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
            firsts=self.firsts.to(device),
            rows=self.rows,
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
        firsts=torch.tensor(firsts, dtype=torch.int64),
        rows=tuple(row for tree in trees for row in tree.rows),
    )
