"""The size of a stage that trains on packed forests.  No torch, no pydantic."""

from __future__ import annotations

from typing import Protocol

from recipes.stages.kind import Size


class Packed(Protocol):
    """What settings of packed training have."""

    @property
    def context_length(self) -> int: ...

    @property
    def pack_length(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def epochs(self) -> float: ...

    @property
    def max_steps(self) -> int | None: ...


def packed_size(settings: Packed, *, first: str = "") -> Size:
    """Forests a step, their tokens, and how long.

    Args:
        first: what comes before the training.
    """
    return Size(
        first=first,
        unit="forests",
        batch_size=settings.batch_size,
        tokens_per_step=settings.batch_size * (settings.pack_length or settings.context_length),
        epochs=settings.epochs,
        max_steps=settings.max_steps,
    )
