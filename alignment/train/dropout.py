"""Dropout that a resumed training draws alike: named by the step and the batch's place in it, as all that is random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def has_dropout(model: nn.Module) -> bool:
    """Whether anything is dropped while the model trains."""
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())


@contextmanager
def drawn_below(seed: int) -> Iterator[None]:
    """Torch's draws inside follow from the seed alone; those outside go on as if there had been none."""
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield
