"""Which machine computed the goldens: sums are the same to the last bit only on the same kind of processor."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

# they choose other kernels on the same processor
_KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "OPENBLAS_CORETYPE")


def processor(cpuinfo: str) -> dict[str, str]:
    """Model and vector instructions of the first processor of a `/proc/cpuinfo`."""
    lines = (line.partition(":") for line in cpuinfo.split("\n\n")[0].splitlines())
    first = {key.strip(): value.strip() for key, _, value in lines}
    flags = first.get("flags", first.get("Features", "")).split()
    vectors = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma", "sse4", "asimd", "sve", "bf16")))
    identity = ("vendor_id", "cpu family", "model", "stepping", "CPU part")
    return {
        "processor": " ".join([first.get("model name", ""), *(first[key] for key in identity if key in first)]).strip(),
        "vectors": hashlib.sha256(" ".join(vectors).encode()).hexdigest()[:16],
    }


def machine() -> dict[str, str]:
    """What decides whether results can be the same to the last bit."""
    import torch
    import transformers

    info = Path("/proc/cpuinfo")
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "kernels": " ".join(f"{name}={os.environ[name]}" for name in _KERNELS if name in os.environ),
        **(processor(info.read_text(encoding="utf-8")) if info.exists() else {"processor": platform.processor()}),
    }
