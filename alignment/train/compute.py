"""The machine: device, precision and threads, resolved once and said aloud."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from accelerate import PartialState
from accelerate.utils import gather
from torch import nn

from alignment.model.attention import prefer_backend
from alignment.process import settle
from alignment.train.settings import ComputeSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The resolved machine.

    Attributes:
        device: where tensors live.
        autocast_dtype: bf16 for autocast over fp32 master weights, or None for plain fp32.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None

    def place(self, model: nn.Module) -> None:
        """Move a model's parameters to the device."""
        model.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The context that forward passes run in."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)


def resolve_compute(settings: ComputeSettings) -> Compute:
    """Choose device and precision; set torch's thread count, how its threads wait, and the attention backend."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prefer_backend(None if settings.attention == "auto" else settings.attention)
    if device.type == "cpu":
        settle(torch.get_num_threads())
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    return Compute(device=device, autocast_dtype=torch.bfloat16 if precision == "bf16" else None)


def compile_layers(model: nn.Module) -> None:
    """Compile a language or reward model's decoder layers in place, one graph for all of them and for every length.

    Attention stands outside: each forest is laid out anew.
    """
    body = cast("PreTrainedModel", model).get_decoder()
    for layer in cast(Iterable[nn.Module], body.layers):
        layer.compile(dynamic=True)


def is_main_process() -> bool:
    """Whether this process writes files: the first of a distributed launch, or the only one."""
    return bool(PartialState().is_main_process)


def wait_for_all() -> None:
    """Let the processes of a distributed launch meet; nothing to do with one."""
    PartialState().wait_for_everyone()


def from_all(value: float) -> list[float]:
    """One number of every process of a distributed launch, by rank; with one process its own alone."""
    state = PartialState()
    if state.num_processes == 1:
        return [value]
    numbers: list[float] = gather(torch.tensor([float(value)], device=state.device)).tolist()
    return numbers


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products are faster than fp32 here: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags
