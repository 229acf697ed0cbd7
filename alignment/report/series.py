"""The values of a figure: named series on shared axes.  The drawing is in `figure.py`.  No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from alignment.errors import UsageError

FigureKind = Literal["line", "points", "bar", "histogram", "heatmap"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One named run of points.

    Attributes:
        name: for the legend (a heatmap: the row's name).
        x: line: where; histogram: the bin edges (one more than `y`), or the values themselves
            with an empty `y`; points, bar and heatmap: unused, may be empty.
        y: the values; NaN leaves a gap.
        low, high: the interval at each point, or None.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("x", "y", "low", "high"):
            values: Iterable[Any] | None = getattr(self, field)
            if values is not None:
                object.__setattr__(self, field, tuple(float(value) for value in values))
        if (self.low is None) != (self.high is None):
            raise UsageError(f"series {self.name!r} has one end of its interval; give both or none")
        if self.low is not None and self.high is not None and not len(self.low) == len(self.high) == len(self.y):
            raise UsageError(
                f"series {self.name!r} has {len(self.y)} values, {len(self.low)} low and {len(self.high)} "
                f"high ends; they must be as many"
            )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Series on shared axes.

    Attributes:
        kind: line, points (a point with its interval per named category), bar (a group of bars per category),
            histogram, or heatmap (a row per series).
        categories: the names along the axis of points and bars, or a heatmap's columns.
        y_scale: "log" for what spans orders of magnitude (line only).
        wide: as wide as the page, where others stand two in a row.
    """

    type: Literal["figure"] = "figure"
    title: str
    kind: FigureKind
    series: tuple[Series, ...]
    x_label: str
    y_label: str
    categories: tuple[str, ...] = ()
    note: str = ""
    y_scale: Literal["linear", "log"] = "linear"
    wide: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", tuple(self.series))
        object.__setattr__(self, "categories", tuple(str(name) for name in self.categories))
        if self.kind not in get_args(FigureKind):
            raise UsageError(f"figure {self.title!r} is a {self.kind!r}; it can be {', '.join(get_args(FigureKind))}")
        for series in self.series:
            wanted = self._points_wanted(series)
            if wanted is not None and len(series.y) != wanted[0]:
                raise UsageError(
                    f"series {series.name!r} of figure {self.title!r} has {len(series.y)} values; "
                    f"it needs {wanted[0]}, one for each {wanted[1]}"
                )

    def _points_wanted(self, series: Series) -> tuple[int, str] | None:
        if self.kind == "line":
            return len(series.x), "x"
        if self.kind == "histogram":
            return (len(series.x) - 1, "pair of bin edges") if series.y else None
        if self.categories:
            return len(self.categories), "category"
        return len(self.series[0].y), "value of the first series"

    @property
    def is_empty(self) -> bool:
        """Whether there is not one finite value to draw."""
        values = (series.y or series.x for series in self.series)
        return not any(math.isfinite(value) for run in values for value in run)


def binned(figure: Figure) -> tuple[Series, ...]:
    """A histogram's series as edges and counts; series of raw values share their bins.

    Bins follow Freedman and Diaconis (1981), between 8 and 40 of them.
    """
    raw = [value for s in figure.series if not s.y for value in s.x if math.isfinite(value)]
    if not raw:
        return figure.series
    low, high = min(raw), max(raw)
    if low == high:
        low, high = low - 0.5, high + 0.5
    quarters = np.percentile(raw, [25, 75])
    width = 2 * float(quarters[1] - quarters[0]) / len(raw) ** (1 / 3)
    number = int(np.clip(round((high - low) / width) if width > 0 else 8, 8, 40))
    edges = np.linspace(low, high, number + 1)
    return tuple(
        s if s.y else Series(name=s.name, x=tuple(edges), y=tuple(np.histogram(_finite(s.x), bins=edges)[0]))
        for s in figure.series
    )


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
