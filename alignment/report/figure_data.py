"""The table behind a figure: what the Markdown twin shows for it, and what the page folds under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from alignment.report import digits
from alignment.report.series import Figure, Series, binned
from alignment.report.table import Cell, Interval, Table

_MOST_ROWS = 24
_MOST_COLUMNS = 16
_Item = TypeVar("_Item")


def figure_table(figure: Figure) -> Table:
    """The figure's numbers, thinned to a length that one reads; the JSON twin has them all."""
    if figure.kind in ("bar", "points"):
        return _bar(figure)
    if figure.kind == "histogram":
        return _histogram(figure)
    if figure.kind == "heatmap":
        return _heatmap(figure)
    return _line(figure)


def _line(figure: Figure) -> Table:
    points = [_by_x(series) for series in figure.series]
    places = sorted({x for run in points for x in run if math.isfinite(x)})
    kept = _thinned(places)
    rows = [(_whole(x), *(run.get(x) for run in points)) for x in kept]
    return _table(figure, (figure.x_label, *_names(figure)), rows, len(places))


def _by_x(series: Series) -> dict[float, Cell]:
    return {x: _cell(series, index) for index, x in enumerate(series.x)}


def _bar(figure: Figure) -> Table:
    names = figure.categories or tuple(str(index + 1) for index in range(len(figure.series[0].y)))
    rows = [(name, *(_cell(series, index) for series in figure.series)) for index, name in enumerate(names)]
    return _table(figure, (figure.x_label, *_names(figure)), rows, len(rows))


def _histogram(figure: Figure) -> Table:
    columns = (f"{figure.x_label}: from", "to", "series", figure.y_label)
    rows: list[tuple[Cell, ...]] = []
    for series in binned(figure):
        bins = list(zip(series.x, series.x[1:], series.y, strict=False))
        rows += [(low, high, series.name, _whole(count)) for low, high, count in bins if count]
    note = "Bins with nothing in them are left out."
    return Table(title=figure.title, columns=columns, rows=tuple(rows), note=note)


def _heatmap(figure: Figure) -> Table:
    columns = len(figure.series[0].y) if figure.series else 0
    names = figure.categories or tuple(str(index + 1) for index in range(columns))
    if columns <= _MOST_COLUMNS:
        rows: list[tuple[Cell, ...]] = [(series.name, *series.y) for series in figure.series]
        return _table(figure, (figure.y_label, *names), _thinned(rows), len(rows))
    rows = []
    for series in figure.series:
        finite = [value for value in series.y if math.isfinite(value)]
        where = names[series.y.index(max(finite))] if finite else None
        mean = sum(finite) / len(finite) if finite else None
        rows.append((series.name, min(finite, default=None), mean, max(finite, default=None), where))
    heads = (figure.y_label, "smallest", "mean", "largest", "largest at")
    return _table(figure, heads, _thinned(rows), len(rows))


def _table(figure: Figure, columns: Sequence[str], rows: Sequence[tuple[Cell, ...]], total: int) -> Table:
    note = f"{len(rows)} of {digits.show(total)} shown; report.json has all." if len(rows) < total else ""
    return Table(title=figure.title, columns=tuple(columns), rows=tuple(rows), note=note)


def _names(figure: Figure) -> tuple[str, ...]:
    return tuple(series.name for series in figure.series)


def _cell(series: Series, index: int) -> Cell:
    value = series.y[index]
    if series.low is not None and series.high is not None and series.low[index] <= series.high[index]:
        return Interval(value=value, low=series.low[index], high=series.high[index])
    return None if math.isnan(value) else value


def _whole(value: float) -> Cell:
    return int(value) if math.isfinite(value) and value == int(value) else value


def _thinned(items: Sequence[_Item]) -> list[_Item]:
    """At most `_MOST_ROWS` of the items, evenly, always with the first and the last."""
    if len(items) <= _MOST_ROWS:
        return list(items)
    return [items[round(index * (len(items) - 1) / (_MOST_ROWS - 1))] for index in range(_MOST_ROWS)]
