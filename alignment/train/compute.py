"""The machine: device, precision and threads, resolved once and said aloud."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather
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
    for layer in decoder_layers(model):
        layer.compile(dynamic=True)


def decoder_layers(model: nn.Module) -> Iterable[nn.Module]:
    """The decoder layers of a language or reward model, in order."""
    return cast(Iterable[nn.Module], cast("PreTrainedModel", model).get_decoder().layers)


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


def from_first(text: str) -> str:
    """A text of the first process of a distributed launch, which the others take in the place of their own."""
    if PartialState().num_processes == 1:
        return text
    texts: list[str] = broadcast_object_list([text])
    return texts[0]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether training in bf16 is faster than in fp32 here: CUDA from Ampere on, and CPUs as `fast_bf16` says."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return fast_bf16(_cpuinfo())


def fast_bf16(cpuinfo: str) -> bool:
    """Whether a processor trains faster in bf16, from what was measured (docs/performance.md, "bf16 or fp32").

    With AMX it does at every size measured; with AVX512-BF16 alone AMD's do and Intel's do not.  A processor that was
    not measured computes in fp32.  A table, no stopwatch: the same machine must choose the same on every start.

    Args:
        cpuinfo: the text of /proc/cpuinfo.
    """
    words = set(cpuinfo.split())
    return "amx_bf16" in words or ("avx512_bf16" in words and "AuthenticAMD" in words)


def bf16_instructions() -> list[str]:
    """Those of the processor's instructions that multiply in bf16, as /proc/cpuinfo names them."""
    words = _cpuinfo().split()
    return [name for name in ("amx_bf16", "avx512_bf16") if name in words]


def processor_name() -> str:
    """The processor's model, as /proc/cpuinfo names it; "" where it does not say."""
    lines = (line for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return next(lines, "").partition(":")[2].strip()


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
