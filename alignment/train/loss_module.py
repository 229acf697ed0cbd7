"""What a supervised training hands to a loss, what it gets back, and both as one module for a wrapper."""

from __future__ import annotations

from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from alignment.train.compute import Compute

# sums over a batch: the loss to descend on, and figures to log, all divided by the step's normaliser
Sums = tuple[Tensor, dict[str, Tensor]]


class Batch(Protocol):
    """One forward pass's share of a step: a forest of trees, with what its loss needs beside it."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the forest."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Where its trees came from ("file:line")."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""


B = TypeVar("B", bound=Batch)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)


class LossFunction(Protocol[B_contra]):
    """Computes a batch's summed loss."""

    def __call__(self, model: nn.Module, batch: B_contra) -> Sums: ...


class LossModule(nn.Module, Generic[B]):
    """Model and loss as one module, so that wrappers (DDP, FSDP2, DeepSpeed) see one forward pass."""

    def __init__(self, model: nn.Module, loss: LossFunction[B], compute: Compute) -> None:
        super().__init__()
        self.model = model
        self.loss_function, self.compute = loss, compute

    def forward(self, batch: B) -> Sums:
        with self.compute.autocast():
            return self.loss_function(self.model, batch)
