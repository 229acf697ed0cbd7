"""A figure of a report as inline SVG that reads in light and dark; its values are in `series.py`.

The drawing is deterministic: the same values give the same bytes in any process.  Title and
legend are set by the page, so that they wrap and can be selected.  No torch; matplotlib is
imported on the first drawing.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alignment.report import digits, svg
from alignment.report.series import Figure, Series, binned
from alignment.report.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Figure", "Series", "render_svg"]
_WIDTH, _WIDE, _HEIGHT = 440, 900, 225  # in the drawing's own units; 1 unit is about 1 px on the page
_MOST_NAMED = 6  # so many places of a line are all named
_LETTER = 6.4  # mean width of a letter of a label
_FEWEST_PLACES = 4  # an axis of names has room for so many: a lone bar is not as wide as its figure
DASHES = ("-", (0, (6, 2.5)), (0, (1.5, 1.5)))  # one line over another leaves both to be seen
_MOST_POINTS = 600  # a band has no more corners than this; lines are simplified by matplotlib
_MOST_LABELLED_CELLS = 150
_LONG_LABEL = 10


def render_svg(figure: Figure, *, prefix: str = "figure-") -> str:
    """Draw the figure.

    Args:
        figure: what to draw; an empty one gives a drawing that says so.
        prefix: put before each id inside the drawing; unique on a page.

    Returns:
        An `<svg>` element whose colours are CSS variables with fallbacks, its text as text.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    # From matplotlib's defaults, not from the user's style file; which backend it has does not matter.
    style: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(style | _STYLE):
        size = (_width(figure) / 72, _height(figure) / 72)
        canvas = Canvas(figsize=size, layout="constrained", facecolor="none")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        axes.set_facecolor("none")
        if figure.is_empty:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "nothing was measured", ha="center", va="center", color=svg.FAINT)
        else:
            _DRAW[figure.kind](axes, figure)
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return svg.inline_svg(file.getvalue(), prefix=prefix, label=visible(figure.title))


_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "font.size": 11,
    "font.family": "DejaVu Sans",  # comes with matplotlib: measures are the same on every machine
    "text.color": svg.INK,
    "axes.labelcolor": svg.FAINT,
    "axes.edgecolor": svg.GRID,
    "axes.labelsize": 10.5,
    "xtick.color": svg.GRID,
    "ytick.color": svg.GRID,
    "xtick.labelcolor": svg.FAINT,
    "ytick.labelcolor": svg.FAINT,
    "xtick.labelsize": 10,
    "xtick.major.pad": 6,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": svg.GRID,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.3,
}


def _width(figure: Figure) -> int:
    return _WIDE if figure.wide else _WIDTH


def _height(figure: Figure) -> int:
    if figure.kind == "heatmap":
        return min(600, max(120, 60 + 20 * len(figure.series) + (60 if _has_long_labels(figure) else 0)))
    if figure.kind == "bar" and _has_long_labels(figure):
        return min(700, max(140, 56 + len(figure.categories) * (16 + 13 * len(figure.series))))
    return _HEIGHT


def _has_long_labels(figure: Figure) -> bool:
    room = _LONG_LABEL * 5 * _width(figure) / _WIDTH / max(1, len(figure.categories))
    return any(len(name) > room for name in figure.categories)


def _line(axes: Axes, figure: Figure) -> None:
    for number, series in enumerate(figure.series):
        colour, dash = _look(number)
        few = sum(math.isfinite(value) for value in series.y) <= 12
        axes.plot(series.x, series.y, color=colour, linestyle=dash, marker="o" if few else None, markersize=4)
        if series.low is not None and series.high is not None:
            kept = slice(None, None, max(1, len(series.x) // _MOST_POINTS))
            axes.fill_between(
                series.x[kept], series.low[kept], series.high[kept], color=colour, alpha=0.16, linewidth=0
            )
    if figure.y_scale == "log":
        axes.set_yscale("log", nonpositive="mask")
    places = sorted({x for s in figure.series for x in s.x if math.isfinite(x)})
    _number_axis(axes, "x", whole=all(x == int(x) for x in places))
    if _are_few(places):
        axes.set_xticks(places)
    _number_axis(axes, "y", whole=False)
    _label(axes, figure, figure.x_label, figure.y_label)


def _are_few(places: Sequence[float]) -> bool:
    """Whether every place of a line can be named on its axis."""
    steps = [after - before for before, after in itertools.pairwise(places)]
    return 0 < len(places) <= _MOST_NAMED and min(steps, default=1.0) > 0.05 * (places[-1] - places[0])


def _points(axes: Axes, figure: Figure) -> None:
    """Points with their intervals over named places; a faint line leads the eye from one to the next."""
    places = np.arange(len(figure.categories), dtype=float)
    apart = min(0.14, 0.5 / len(figure.series))
    for number, series in enumerate(figure.series):
        colour, dash = _look(number)
        at = places + (number - (len(figure.series) - 1) / 2) * apart
        axes.plot(at, series.y, color=colour, linestyle=dash, linewidth=1.2, alpha=0.45)
        axes.errorbar(
            at, series.y, yerr=_ends(series), color=colour, fmt="o", markersize=5, elinewidth=1.6, capsize=3.5
        )
    room = max(8, int(_width(figure) * 0.86 / len(places) / _LETTER))
    axes.set_xticks(places, [_wrapped(name, room, lines=3) for name in figure.categories])
    axes.set_xlim(*_room(len(places)))
    axes.xaxis.set_tick_params(length=0, labelcolor=svg.INK)
    _number_axis(axes, "y", whole=False)
    _label(axes, figure, figure.x_label, figure.y_label)


def _bar(axes: Axes, figure: Figure) -> None:
    categories = [_wrapped(name, 26, lines=2) for name in figure.categories or _numbered(len(figure.series[0].y))]
    lying = _has_long_labels(figure)
    places = np.arange(len(categories), dtype=float)
    width = 0.78 / len(figure.series)
    for number, series in enumerate(figure.series):
        colour, _ = _look(number)
        at = places + (number - (len(figure.series) - 1) / 2) * width
        error = _ends(series)
        whisker = {"ecolor": svg.INK, "elinewidth": 1.1, "capsize": 2.5}
        if lying:
            axes.barh(at, series.y, width * 0.92, color=colour, xerr=error, error_kw=whisker)
        else:
            axes.bar(at, series.y, width * 0.92, color=colour, yerr=error, error_kw=whisker)
    if lying:
        axes.set_yticks(places, categories)
        _number_axis(axes, "x", whole=False)
        axes.set_ylim(*_room(len(places))[::-1])
        _label(axes, figure, figure.y_label, figure.x_label)
    else:
        axes.set_xticks(places, categories)
        _number_axis(axes, "y", whole=False)
        axes.set_xlim(*_room(len(places)))
        _label(axes, figure, figure.x_label, figure.y_label)
    for axis in (axes.yaxis,) if lying else (axes.xaxis,):
        axis.set_tick_params(length=0, labelcolor=svg.INK)


def _ends(series: Series) -> np.ndarray | None:
    """[2, n] lengths of the interval below and above each value; None where there are none."""
    if series.low is None or series.high is None:
        return None
    y = np.array(series.y)
    ends: np.ndarray = np.clip(np.stack([y - np.array(series.low), np.array(series.high) - y]), 0, None)
    return ends


def _room(places: int) -> tuple[float, float]:
    """The ends of an axis of so many named places."""
    spare = max(0, _FEWEST_PLACES - places) / 2
    return -0.5 - spare, places - 0.5 + spare


def _histogram(axes: Axes, figure: Figure) -> None:
    for number, series in enumerate(binned(figure)):
        if not series.y:
            continue
        colour, _ = _look(number)
        axes.stairs(series.y, series.x, fill=True, color=colour, alpha=0.22, linewidth=0)
        axes.stairs(series.y, series.x, color=colour, linewidth=1.5)
    _number_axis(axes, "x", whole=False)
    _number_axis(axes, "y", whole=True)
    _label(axes, figure, figure.x_label, figure.y_label)


def _heatmap(axes: Axes, figure: Figure) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    values = np.array([series.y for series in figure.series], dtype=float)
    rows, columns = values.shape
    largest = float(np.nanmax(np.abs(np.where(np.isfinite(values), values, np.nan)))) or 1.0
    # Strength is opacity over the page's own ground, so that one drawing serves both schemes;
    # cells of one strength are one path, which keeps a map of 100 x 100 tokens small.
    strength = np.rint(np.nan_to_num(values / largest) * 24).astype(int)
    for level in np.unique(strength[strength != 0]):
        corners, codes = [], []
        for row, column in np.argwhere(strength == level):
            x, y = column - 0.47, row - 0.47
            corners += [(x, y), (x + 0.94, y), (x + 0.94, y + 0.94), (x, y + 0.94), (x, y)]
            codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
        colour = svg.SERIES[0] if level > 0 else svg.SERIES[1]
        alpha = 0.04 + 0.72 * abs(int(level)) / 24
        axes.add_patch(PathPatch(Path(corners, codes), facecolor=colour, alpha=alpha, linewidth=0))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    if rows * columns <= _MOST_LABELLED_CELLS:
        shown = digits.show_column([float(value) for value in values.ravel()])
        for index, text in enumerate(shown):
            if math.isfinite(values.ravel()[index]):
                axes.text(index % columns, index // columns, text, ha="center", va="center", fontsize=9)
    every = max(1, math.ceil(rows / 28))
    axes.set_yticks(range(0, rows, every), [_short(s.name, 22) for s in figure.series[::every]])
    names = [_short(name, 18) for name in figure.categories or _numbered(columns)]
    every = max(1, math.ceil(columns / 28))
    axes.set_xticks(range(0, columns, every), names[::every], rotation=40 if _has_long_labels(figure) else 0)
    if _has_long_labels(figure):
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"strongest colour: {digits.show(largest)}", loc="right", fontsize=9, color=svg.FAINT)
    _label(axes, figure, figure.x_label, figure.y_label)


_DRAW = {"line": _line, "points": _points, "bar": _bar, "histogram": _histogram, "heatmap": _heatmap}


def _look(number: int) -> tuple[str, Any]:
    """Colour and dash of the n-th series: 24 looks, no two of neighbours alike in either."""
    return svg.SERIES[number % svg.NUM_COLOURS], DASHES[number % len(DASHES)]


def _number_axis(axes: Axes, which: Literal["x", "y"], *, whole: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(5, integer=whole))
        axis.set_minor_locator(MaxNLocator(1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: digits.show(float(f"{value:.6g}"))))
    axes.grid(True, axis=which, linewidth=0.8)
    axis.set_tick_params(length=0)
    axes.spines["left" if which == "y" else "bottom"].set_visible(False)
    axes.margins(x=0.02)


def _label(axes: Axes, figure: Figure, x: str, y: str) -> None:
    axes.set_xlabel(_wrapped(x, int(_width(figure) * 0.86 / _LETTER), lines=2))
    axes.set_ylabel(_wrapped(y, max(12, int(_height(figure) * 0.8 / _LETTER)), lines=3))


def _wrapped(text: str, width: int, *, lines: int) -> str:
    """The text in lines no longer than this; only what needs more lines is cut."""
    return "\n".join(
        textwrap.wrap(" ".join(visible(text).split()), width, max_lines=lines, placeholder=" …", tabsize=1)
    )


def _short(text: str, most: int) -> str:
    text = " ".join(visible(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _numbered(number: int) -> tuple[str, ...]:
    return tuple(str(index + 1) for index in range(number))
