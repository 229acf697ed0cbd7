"""Weights and optimizer state in shards, as parts of a training checkpoint: each process writes and reads its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignment.train.shard_files import StoredPart, write_shards


@dataclass(frozen=True)
class ShardedModel:
    """The trained parameters of a model, each process' shards of them; the names are those of the whole model."""

    shards: Mapping[str, nn.Parameter]

    def values(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def write(self, folder: Path) -> None:
        """Write this process' shards."""
        write_shards(folder, {name: shard.detach() for name, shard in self.shards.items()})

    def read(self, stored: StoredPart, values: Mapping[str, Any]) -> None:
        """Put the shards back in place.

        Raises:
            CheckpointError: they do not fit the model.
        """
        stored.fill({name: shard.detach() for name, shard in self.shards.items()})


@dataclass(frozen=True)
class ShardedOptimizer:
    """The state of AdamW over shards, by parameter as `optimizer_tensors` names it: `name|exp_avg`, `name|step` …"""

    shards: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer

    def values(self) -> Mapping[str, Any]:
        """None: the learning rate is set anew each step."""
        return {}

    def write(self, folder: Path) -> None:
        """Write this process' shards; nothing where no update was made yet."""
        if tensors := self._tensors():
            write_shards(folder, tensors)

    def read(self, stored: StoredPart, values: Mapping[str, Any]) -> None:
        """Put the state back.

        Raises:
            CheckpointError: it does not fit the model.
        """
        if not stored.shapes():  # saved before the first update
            return
        for group in self.optimizer.param_groups:
            for shard in group["params"]:
                device = shard.device if group["fused"] else torch.device("cpu")
                moments = {name: torch.zeros_like(shard.detach()) for name in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[shard] = {"step": torch.zeros((), device=device), **moments}
        stored.fill(self._tensors())

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}|{key}": value
            for name, shard in self.shards.items()
            for key, value in self.optimizer.state.get(shard, {}).items()
        }
