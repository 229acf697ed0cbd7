"""FSDP2 (torch's `fully_shard`): each process holds a share of every weight, gradient and optimizer state.

The decoder layers are gathered one by one as they are needed, what is around them (embedding, last norm, head) once a
forward pass.  Gradients are reduced in fp32 after every forest, so that no process ever holds them whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from alignment.train.compute import decoder_layers
from alignment.train.loss_module import B, Batch, LossModule, Sums
from alignment.train.optimizer import make_optimizer
from alignment.train.parallel.shards import ShardedModel, ShardedOptimizer
from alignment.train.parallel.twin import copy_back, trained, twin_of
from alignment.train.parallel.wrapped import Wrapped
from alignment.train.settings import OptimizerSettings


class Fsdp2(Wrapped):
    """A twin of the caller's model in shards; the caller's own is filled when the training is over.

    Where the layers' weights are used in bf16, the shards, the residual stream, the reductions and everything around
    the layers stay in fp32, so that the result differs from autocast's (as one process has it) in the layers' norms
    alone, whose gains are rounded too.

    Args:
        parameters: what the layers' weights are gathered in.
    """

    def __init__(
        self,
        module: LossModule[B],
        settings: OptimizerSettings,
        device: torch.device,
        *,
        parameters: torch.dtype,
    ) -> None:
        super().__init__(device)
        state = PartialState()
        self.rank, self.size = state.process_index, state.num_processes
        self.whole = module.model
        twin = twin_of(module, why="fsdp2")
        mesh = init_device_mesh(device.type, (self.size,))
        low = MixedPrecisionPolicy(param_dtype=parameters, reduce_dtype=torch.float32, cast_forward_inputs=False)
        policy = low if parameters != torch.float32 else MixedPrecisionPolicy()
        for layer in decoder_layers(twin.model):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(twin, mesh=mesh)
        self.module: nn.Module = twin
        self.optimizer = make_optimizer(twin.model, settings)
        # the shards themselves: while something is gathered, the module has others in their place
        self.shards = trained(twin.model)
        self.saved = {
            "model": ShardedModel(self.shards),
            "optimizer": ShardedOptimizer(self.shards, self.optimizer),
        }

    def accumulate(self, batch: Batch, factor: float, *, last: bool) -> Sums:
        loss, parts = self.sums(batch)
        (loss * factor).backward()
        return loss, parts

    def update(self, max_grad_norm: float, *, usable: bool) -> float:
        norm = nn.utils.clip_grad_norm_(self.shards.values(), max_grad_norm)
        value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if usable and math.isfinite(value):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with super().evaluating():
            yield
        for module in self.module.modules():  # what no backward pass gave up again
            if isinstance(module, FSDPModule):
                module.reshard()

    def give_back(self) -> None:
        copy_back(lambda name: _whole(self.shards[name]), self.whole)


def _whole(shard: nn.Parameter) -> Tensor:
    tensor: Tensor = cast(DTensor, shard.detach()).full_tensor()
    return tensor
