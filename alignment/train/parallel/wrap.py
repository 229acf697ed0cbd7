"""The one function that makes a loss module and its optimizer ready for the processes of a launch."""

from __future__ import annotations

import torch
from accelerate import PartialState

from alignment.errors import UsageError
from alignment.train.compute import Compute, compile_layers
from alignment.train.loss_module import B, LossModule
from alignment.train.packages import require_parallel_packages
from alignment.train.parallel.wrapped import Wrapped
from alignment.train.settings import ComputeSettings, OptimizerSettings


def wrap(module: LossModule[B], optimizer: OptimizerSettings, settings: ComputeSettings, compute: Compute) -> Wrapped:
    """The module as `compute.parallel` asks, on the device, with its optimizer; every process of a launch calls it.

    With one process there is nothing to divide: every kind trains the caller's model as it is.

    Raises:
        UsageError: the kind is `none` and there are several processes; or parameters are asked in bf16 and `auto` has
            become fp32 on this machine; or the model has parameters that the kind cannot divide.
        MissingExtra: the kind is `deepspeed`, which is not installed.
    """
    parallel = settings.parallel
    require_parallel_packages(settings)
    state = PartialState(cpu=compute.device.type == "cpu")
    low = compute.autocast_dtype is not None
    if parallel.parameters == "bf16" and not low:
        raise UsageError(
            f"compute.parallel asks for parameters in bf16, and compute.precision, {settings.precision}, is fp32 on "
            f"this machine; say bf16 in both, or leave parameters out"
        )
    if parallel.kind == "none" and state.num_processes > 1:
        raise UsageError(
            f"compute.parallel is none, and {state.num_processes} processes were launched; launch one, or say ddp, "
            f"fsdp2 or deepspeed"
        )
    if state.num_processes > 1 and parallel.kind == "fsdp2":
        from alignment.train.parallel.fsdp2 import Fsdp2

        bf16 = low and parallel.parameters != "fp32"
        return Fsdp2(module, optimizer, compute.device, parameters=torch.bfloat16 if bf16 else torch.float32)
    if state.num_processes > 1 and parallel.kind == "deepspeed":
        from alignment.train.parallel.deepspeed import Zero

        return Zero(module, optimizer, compute.device, stage=parallel.stage or 2)
    from alignment.train.parallel.replicated import Replicated

    if settings.compile:
        compile_layers(module.model)
    return Replicated(module, optimizer, compute.device)
