"""A table of a report, its cells, and the interval that a measured figure carries.  No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from alignment.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its interval, shown `0.62 [0.58, 0.66]`.

    Attributes:
        value: the estimate.
        low, high: the ends of its interval (95 % unless a table's note says otherwise).
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.low > self.high:
            raise UsageError(f"an interval is upside down: low {self.low} is above high {self.high}; low comes first")


Cell = str | int | float | bool | None | Interval


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under named columns.

    Attributes:
        title: what the table shows; a comparison of runs finds the same table by its title.
        columns: the heads, all different.
        rows: one tuple a row, as long as `columns`; the first cells name the row.
        note: where the figures come from, how the intervals were made, how many were measured.
        scored_by: the judge that the figures come from, one of the report's `judges`; "" where they are nobody's.
    """

    type: Literal["table"] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    scored_by: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(str(column) for column in self.columns))
        rows = tuple(tuple(plain_cell(cell, f"table {self.title!r}") for cell in row) for row in self.rows)
        object.__setattr__(self, "rows", rows)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(self.columns):
                raise UsageError(
                    f"row {number} of table {self.title!r} has {len(row)} cells; its columns are "
                    f"{len(self.columns)}: {', '.join(self.columns)}"
                )


def plain_cell(value: Any, where: str) -> Cell:
    """The cell as a plain Python value: numpy scalars and one-element tensors are unwrapped.

    Args:
        value: what a caller put in.
        where: named in the error.

    Raises:
        UsageError: the value is not a cell (a list, a dict, …).
    """
    if not isinstance(value, (str, int, float, bool, Interval, type(None))) and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and type(value) is not float:
        value = float(value)  # numpy.float64 is a float whose repr is not one
    if not isinstance(value, (str, int, float, bool, Interval, type(None))):
        raise UsageError(
            f"a cell of {where} is a {type(value).__name__}; a cell is a text, a number, a truth value, "
            f"an Interval or None"
        )
    return value


def is_number(cell: Cell) -> bool:
    """Whether a cell is a figure (an int, a float or an interval; a truth value is not)."""
    return isinstance(cell, (int, float, Interval)) and not isinstance(cell, bool)


def midpoint(cell: Cell) -> float | None:
    """The figure of a numeric cell without its interval; None for anything else and for NaN."""
    if isinstance(cell, Interval):
        cell = cell.value
    if isinstance(cell, bool) or not isinstance(cell, (int, float)) or math.isnan(cell):
        return None
    return float(cell)
