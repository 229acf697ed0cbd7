"""What training on several processes needs installed, asked before anything is trained.  No torch, no import."""

from __future__ import annotations

import importlib.util

from alignment.errors import MissingExtra
from alignment.train.settings import ComputeSettings


def require_parallel_packages(settings: ComputeSettings) -> None:
    """See that DeepSpeed is installed where it is asked for, with however many processes.

    Raises:
        MissingExtra: it is not; names the extra that brings it.
    """
    if settings.parallel.kind == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise MissingExtra("deepspeed", "deepspeed")
