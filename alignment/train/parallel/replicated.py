"""One process, or several that each hold the whole model and average their gradients (DDP, by Accelerate)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

from alignment.errors import UsageError
from alignment.train.checkpoints import SavedModel, SavedOptimizer
from alignment.train.loss_module import B, Batch, LossModule, Sums
from alignment.train.optimizer import make_optimizer
from alignment.train.parallel.wrapped import Wrapped
from alignment.train.settings import OptimizerSettings


class Replicated(Wrapped):
    """The caller's own model, trained in place; processes may make different numbers of forward passes.

    Raises:
        UsageError: the launcher's configuration would have Accelerate shard the model, unseen by the checkpoints.
    """

    even = False

    def __init__(self, module: LossModule[B], settings: OptimizerSettings, device: torch.device) -> None:
        super().__init__(device)
        self.accelerator = Accelerator(cpu=device.type == "cpu")
        kind = self.accelerator.distributed_type
        if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise UsageError(
                f"accelerate's own configuration asks for {kind.value}; launch without it and say so in the recipe: "
                f"compute.parallel: {'fsdp2' if kind is DistributedType.FSDP else 'deepspeed'}"
            )
        self.rank, self.size = self.accelerator.process_index, self.accelerator.num_processes
        self.plain = module.to(device)
        self.optimizer = make_optimizer(module.model, settings)
        self.optimizer.zero_grad(set_to_none=True)  # whatever the caller left behind
        self.module: nn.Module = self.accelerator.prepare(module)
        self.saved = {"model": SavedModel(module.model), "optimizer": SavedOptimizer(module.model, self.optimizer)}

    def sums(self, batch: Batch) -> Sums:
        # nobody waits for anybody in an evaluation
        module = self.module if torch.is_grad_enabled() else self.plain
        sums: Sums = module(batch.to(self.device))
        return sums

    def accumulate(self, batch: Batch, factor: float, *, last: bool) -> Sums:
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            loss, parts = self.sums(batch)
            self.accelerator.backward(loss * factor)
        return loss, parts

    def update(self, max_grad_norm: float, *, usable: bool) -> float:
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), max_grad_norm)
        if usable and bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def give_back(self) -> None:
        """Nothing to do: it is the caller's own model that was trained."""
