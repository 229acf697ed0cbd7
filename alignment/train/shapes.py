"""Whether what a checkpoint holds fits what is trained: names and shapes.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from alignment.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def require_same_shapes(built: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]]) -> None:
    """See that a checkpoint holds the model's tensors and no others.

    Args:
        built: name -> shape in the model; stored: in the checkpoint.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; names the first.
    """
    if missing := sorted(built.keys() - stored.keys()):
        raise CheckpointError(f"the checkpoint lacks {missing[0]} {built[missing[0]]}")
    if extra := sorted(stored.keys() - built.keys()):
        raise CheckpointError(f"the checkpoint holds {extra[0]} {stored[extra[0]]}, which the model has not")
    for name, shape in stored.items():
        if shape != built[name]:
            raise CheckpointError(f"{name} is {shape} in the checkpoint and {built[name]} in the model")
