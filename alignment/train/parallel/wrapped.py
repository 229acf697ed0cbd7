"""What every way of training on several processes offers the loop: one forward, one update, what is saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from alignment.train.checkpoints import Part
from alignment.train.loss_module import Batch, Sums


class Wrapped(ABC):
    """A loss module with its optimizer, as one process of a launch has it.

    Attributes:
        module: what is called; its forward pass may need the other processes.
        optimizer: holds the learning rate.
        rank, size: this process among those that train, from 0.
        saved: what a training checkpoint holds of the model and its optimizer.
        even: whether every process must make the same number of forward passes.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    rank: int
    size: int
    saved: Mapping[str, Part]
    even: bool = True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def sums(self, batch: Batch) -> Sums:
        """The batch's summed loss and figures."""
        sums: Sums = self.module(batch.to(self.device))
        return sums

    @abstractmethod
    def accumulate(self, batch: Batch, factor: float, *, last: bool) -> Sums:
        """Add the gradient of a batch's loss to the step's, the mean over processes of `factor` times each one's loss.

        Args:
            last: of this process in this step.

        Returns:
            The batch's sums, without the factor.
        """

    @abstractmethod
    def update(self, max_grad_norm: float, *, usable: bool) -> float:
        """Clip the step's gradient and take the optimizer's step, or none where loss or norm is not finite.

        Args:
            max_grad_norm: the global norm is clipped to that.
            usable: whether the step's loss is finite; the same in every process.

        Returns:
            The gradient's global norm before clipping; NaN or infinite where no step was taken for its sake.
        """

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """For forward passes (`sums`) in between that learn nothing; every process must make the same ones."""
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()

    @abstractmethod
    def give_back(self) -> None:
        """Put what was trained into the model that the caller knows, whole, in every process; all must call it."""
