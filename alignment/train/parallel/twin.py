"""A second module over the same weights, which a sharding library may take apart; the caller's own stays what it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from alignment.errors import UsageError

M = TypeVar("M", bound=nn.Module)


def twin_of(module: M, *, why: str) -> M:
    """The module again, with parameters of its own that share the storage of the module's; shared ones stay shared.

    Args:
        why: what divides the weights, for the error.

    Raises:
        UsageError: a parameter holds packed numbers (a base in 4 bits), which cannot be divided.
    """
    memo: dict[int, object] = {}
    for name, parameter in module.named_parameters():
        if not parameter.is_floating_point():
            raise UsageError(
                f"compute.parallel is {why}, which cannot divide {name} of type {parameter.dtype}; with "
                f"base_precision nf4 say compute.parallel: ddp"
            )
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
    return copy.deepcopy(module, memo)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained of a module, by name, shared parameters once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def copy_back(whole: Callable[[str], Tensor], model: nn.Module) -> None:
    """Put every trained parameter of the model in place, one after the other, so that one is whole beside the shards.

    Args:
        whole: name -> the parameter; called in the same order in every process.
    """
    with torch.no_grad():
        for name, parameter in trained(model).items():
            parameter.copy_(whole(name))
