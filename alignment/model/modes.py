"""Training and evaluation modes, kept as they were found: dropout and gradient checkpointing hang on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module of a model into evaluation mode, and each back into its own mode at the end.

    A model that sampled in between trains on as before: with `eval()` alone it would go on without gradient
    checkpointing and without an adapter's dropout.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
