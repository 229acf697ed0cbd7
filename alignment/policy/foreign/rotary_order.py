"""Two orders of a head's rotary dimensions: Meta rotates neighbours (2i, 2i + 1), transformers the halves (i, i + d/2).

The same attention comes out of both if the rows of the query and key projections are put in the other order.
"""

from __future__ import annotations

from torch import Tensor


def to_halves(weight: Tensor, heads: int) -> Tensor:
    """Meta's order to transformers'.

    Args:
        weight: [heads * D, C], a query or key projection.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def to_neighbours(weight: Tensor, heads: int) -> Tensor:
    """transformers' order to Meta's: the inverse of `to_halves`."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)
