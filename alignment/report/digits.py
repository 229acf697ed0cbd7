"""How figures are written: enough digits to read, the same number of them down a column.

All twins of a report write through here, so that they cannot show different numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from alignment.report.table import Cell, Interval

_LARGE, _SMALL = 1e7, 1e-4  # outside of these a figure is written with an exponent
_MOST_DECIMALS = 6
_ROUNDING = 1e-12  # an interval narrower than this share of its figure is a point


def show(cell: Cell) -> str:
    """One cell on its own: four significant digits, thousands apart, `–` for nothing."""
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, Interval):
        return _interval(cell, _interval_decimals(cell))
    return _alone(cell)


def show_column(cells: Sequence[Cell]) -> list[str]:
    """The cells of one column: floats share their number of decimals, and so do intervals."""
    floats = [cell for cell in cells if isinstance(cell, float)]
    decimals = _shared_decimals(floats)
    spread = max((_interval_decimals(cell) for cell in cells if isinstance(cell, Interval)), default=0)
    shown = []
    for cell in cells:
        if isinstance(cell, Interval):
            shown.append(_interval(cell, spread))
        elif isinstance(cell, float) and decimals is not None and math.isfinite(cell):
            shown.append(_fixed(cell, decimals))
        else:
            shown.append(show(cell))
    return shown


def _alone(value: float) -> str:
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= _LARGE or size < _SMALL:
        return _exponent(value)
    if value == int(value):
        return f"{int(value):,}"
    text = _fixed(value, max(0, 3 - math.floor(math.log10(size))))
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exponent(value: float) -> str:
    mantissa, power = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(power)}"


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    # A tiny negative figure rounds to "-0.00"; the sign would claim a difference that is not shown.
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text


def _shared_decimals(values: Sequence[float]) -> int | None:
    """Decimals for a column of floats; None where its cells are better written one by one."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes or max(sizes) >= _LARGE or min(sizes) < _SMALL:
        return None
    for_largest = 2 - math.floor(math.log10(max(sizes)))
    for_smallest = 1 - math.floor(math.log10(min(sizes)))
    decimals = max(0, for_largest, for_smallest)
    if decimals > _MOST_DECIMALS:
        return None
    # Fewer, where that loses nothing: 0.5 and 0.25 need no third decimal.
    while decimals and all(abs(round(v, decimals - 1) - v) < 10.0 ** -(decimals + 6) for v in sizes):
        decimals -= 1
    return decimals


def _interval_decimals(interval: Interval) -> int:
    """Decimals that resolve the interval's half width, and at least two for figures below ten."""
    half = (interval.high - interval.low) / 2
    size = max(abs(interval.value), abs(interval.low), abs(interval.high))
    least = 2 if size < 10 else 1 if size < 100 else 0
    if not math.isfinite(half) or half <= _ROUNDING * size:
        if math.isfinite(size) and 0 < size < 1:
            return min(_MOST_DECIMALS, max(least, 2 - math.floor(math.log10(size))))
        return least
    return min(_MOST_DECIMALS, max(least, 1 + math.floor(-math.log10(half))))


def _interval(interval: Interval, decimals: int) -> str:
    def part(value: float) -> str:
        if not math.isfinite(value) or abs(value) >= _LARGE:
            return _alone(value)
        return _fixed(value, decimals)

    return f"{part(interval.value)} [{part(interval.low)}, {part(interval.high)}]"
