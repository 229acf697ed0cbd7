"""DeepSpeed's ZeRO: optimizer state (stage 1), gradients too (2), weights too (3) divided among the processes.

Weights, gradients and reductions are fp32; where the precision is bf16 the forward pass is autocast as everywhere.
`deepspeed.initialize` takes the process group that is there (NCCL, on a CPU gloo); Accelerate's plugin is not used,
because on a CPU it is ignored without a word.

What differs from the other kinds: DeepSpeed clips and steps in one call, with the recipe's norm, and looks itself
whether that norm is finite.  A step whose loss is not finite is made one whose gradient is not either, so that it is
left out like everywhere.  Training checkpoints are gathered on the first process into the files that one process
writes, never DeepSpeed's own pickles.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from alignment.train.loss_module import B, Batch, LossModule, Sums
from alignment.train.optimizer import make_optimizer
from alignment.train.parallel.twin import copy_back, trained, twin_of
from alignment.train.parallel.wrapped import Wrapped
from alignment.train.settings import OptimizerSettings
from alignment.train.shapes import require_same_shapes, shapes_of

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero(Wrapped):
    """A twin of the caller's model in DeepSpeed's engine; the caller's own is filled when the training is over.

    Args:
        stage: of ZeRO, 1 to 3.
    """

    def __init__(self, module: LossModule[B], settings: OptimizerSettings, device: torch.device, *, stage: int) -> None:
        super().__init__(device)
        deepspeed = _imported(device)
        state = PartialState()
        self.rank, self.size = state.process_index, state.num_processes
        self.whole = module.model
        twin = twin_of(module, why="deepspeed")
        own = make_optimizer(twin.model, settings)
        own.param_groups[:] = [group for group in own.param_groups if group["params"]]  # it cannot divide nothing
        config = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.max_grad_norm,
            "zero_optimization": {"stage": stage},
            "zero_allow_untested_optimizer": True,
        }
        self.engine: Any = deepspeed.initialize(model=twin, optimizer=own, config=config)[0]
        self.module: nn.Module = self.engine
        self.divided: Any = self.engine.optimizer
        self.optimizer = self.divided
        self.parameters = trained(twin.model)
        self.saved = {"model": _Weights(self), "optimizer": _State(self)}

    def accumulate(self, batch: Batch, factor: float, *, last: bool) -> Sums:
        self.engine.set_gradient_accumulation_boundary(last)
        loss, parts = self.sums(batch)
        finite = torch.isfinite(loss.detach())
        self.engine.backward(loss * torch.where(finite, factor, math.nan))
        return loss, parts

    def update(self, max_grad_norm: float, *, usable: bool) -> float:
        self.engine.step()
        if self.divided.overflow:
            return math.nan
        return float(self.engine.get_global_grad_norm())

    def give_back(self) -> None:
        copy_back(lambda name: self.full(name), self.whole)
        self.engine.destroy()

    def full(self, name: str, moment: str | None = None) -> Tensor:
        """A parameter, or one of AdamW's moments of it, whole; every process calls it."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        parameter = self.parameters[name]
        if moment is not None:
            tensor: Tensor = safe_get_full_optimizer_state(parameter, moment)
        else:
            tensor = safe_get_full_fp32_param(parameter)
        return tensor.detach()

    def set_full(self, name: str, value: Tensor) -> None:
        """Set a parameter, its divided fp32 master included; every process calls it with the whole."""
        from deepspeed.runtime.zero import GatheredParameters
        from deepspeed.utils import safe_set_full_fp32_param

        parameter = self.parameters[name]
        with torch.no_grad(), GatheredParameters([parameter], modifier_rank=0):
            parameter.copy_(value)
        safe_set_full_fp32_param(parameter, value.to(parameter.device))

    def flats(self) -> list[Tensor]:
        """This process' flat shares of the fp32 weights, which are what the optimizer steps."""
        if hasattr(self.divided, "single_partition_of_fp32_groups"):
            return list(self.divided.single_partition_of_fp32_groups)
        return list(self.divided.fp32_partitioned_groups_flat)

    def link_state(self) -> None:
        """Let every parameter find its share of the optimizer's state.

        Stages 1 and 2 do so once, after the first group of parameters was stepped, when the others have no state yet.
        """
        if hasattr(self.divided, "_hp_optimizer_states_linked"):
            self.divided._hp_optimizer_states_linked = False
            self.divided._lazy_init_hp_params_optimizer_state()

    @property
    def inner(self) -> torch.optim.Optimizer:
        """AdamW itself, over the flat shares."""
        optimizer: torch.optim.Optimizer = self.divided.optimizer
        return optimizer


class _Gathered:
    """A part of a checkpoint whose tensors are gathered on the first process, and handed over once."""

    def __init__(self, zero: Zero) -> None:
        self.zero = zero
        self.gathered: dict[str, Tensor] = {}

    def tensors(self) -> Mapping[str, Tensor]:
        found, self.gathered = self.gathered, {}
        return found

    def values(self) -> Mapping[str, Any]:
        return {}


class _Weights(_Gathered):
    """The trained parameters, gathered one by one on the first process."""

    def gather(self) -> None:
        for name in self.zero.parameters:
            whole = self.zero.full(name)
            if self.zero.rank == 0:
                self.gathered[name] = whole.cpu()

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        shapes = {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in self.zero.parameters.items()}
        require_same_shapes(shapes, shapes_of(tensors))
        for name, value in tensors.items():
            self.zero.set_full(name, value)


class _State(_Gathered):
    """AdamW's state by parameter, as `optimizer_tensors` names it, gathered one by one on the first process."""

    def gather(self) -> None:
        states = [self.zero.inner.state.get(flat, {}) for flat in self.zero.flats()]
        if not any(states):  # no update was made yet
            return
        self.zero.link_state()
        step = next(state["step"] for state in states if state)
        for name in self.zero.parameters:
            moments = {moment: self.zero.full(name, moment) for moment in _MOMENTS}
            if self.zero.rank == 0:
                self.gathered |= {f"{name}|{moment}": value.cpu() for moment, value in moments.items()}
                self.gathered[f"{name}|step"] = step.detach().cpu().clone()

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        if not tensors:
            return
        shapes: dict[str, tuple[int, ...]] = {}
        for name, parameter in self.zero.parameters.items():
            shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
            shapes |= {f"{name}|{moment}": shape for moment in _MOMENTS} | {f"{name}|step": ()}
        require_same_shapes(shapes, shapes_of(tensors))
        step = next(value for name, value in tensors.items() if name.endswith("|step"))
        fused = self.zero.inner.defaults["fused"]
        for flat in self.zero.flats():
            moments = {moment: torch.zeros_like(flat.detach()) for moment in _MOMENTS}
            self.zero.inner.state[flat] = {"step": step.clone().to(flat.device if fused else "cpu"), **moments}
        self.zero.link_state()
        for name, parameter in self.zero.parameters.items():
            for moment in _MOMENTS:
                value = tensors[f"{name}|{moment}"].to(parameter.device)
                safe_set_full_optimizer_state(parameter, value, moment)


def _imported(device: torch.device) -> Any:
    """DeepSpeed, without what it would compile or print at its first use."""
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    import deepspeed
    from deepspeed.ops import __compatible_ops__

    # on a CPU it would compile its shared-memory collectives for minutes, and a kill meanwhile leaves a lock behind
    # that the next process waits for without end
    __compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # its import has set its own
    if device.type == "cuda":
        os.environ.setdefault("LOCAL_RANK", str(PartialState().local_process_index))
    return deepspeed
