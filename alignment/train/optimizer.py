"""AdamW as the Llama 2 paper sets it (2.2), with a state that is saved as plain tensors, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alignment.errors import CheckpointError
from alignment.train.settings import OptimizerSettings


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; decay on matrices only, not on norms and biases.

    The paper does not name the decayed tensors; leaving out one-dimensional ones is the usual choice.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.dtype == torch.float32 for _, p in named)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = value


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by parameter: `name|exp_avg`, `name|exp_avg_sq`, `name|step`."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = value.detach().cpu() if isinstance(value, Tensor) else torch.tensor(float(value))
    return tensors


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a saved state back.

    Raises:
        CheckpointError: it names a parameter that the model has not.
    """
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, kind = key.rpartition("|")
        if name not in parameters:
            raise CheckpointError(f"the optimizer's state names {name}, which the model has not")
        parameter = parameters[name]
        optimizer.state[parameter][kind] = value.clone() if kind == "step" else value.to(parameter.device).clone()
