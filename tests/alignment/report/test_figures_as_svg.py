"""Figures: the same bytes for the same values, ids of their own, something drawn for every value."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from alignment.errors import UsageError
from alignment.report.as_html import to_html
from alignment.report.blocks import Report
from alignment.report.figure import render_svg
from alignment.report.series import Figure, FigureKind, Series, binned
from tests.alignment.report.page_reader import Page

ROOT = Path(__file__).resolve().parents[3]


def _line(*ys: tuple[float, ...], title: str = "Loss") -> Figure:
    series = tuple(Series(name=f"s{n}", x=tuple(range(len(y))), y=y) for n, y in enumerate(ys))
    return Figure(title=title, kind="line", series=series, x_label="step", y_label="nats")


@pytest.fixture(scope="module")
def page(sample_report: Report) -> Page:
    return Page(to_html(sample_report))


@pytest.mark.slow
def test_the_same_report_gives_the_same_bytes(sample_report: Report) -> None:
    assert to_html(sample_report) == to_html(sample_report)


@pytest.mark.slow
def test_another_process_with_another_hash_seed_and_style_draws_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nsvg.hashsalt: other\naxes.grid: True\n", encoding="utf-8")
    code = (
        "import sys; from alignment.report.figure import Figure, Series, render_svg\n"
        "series = (Series(name='s0', x=(0, 1, 2), y=(3, 1, 2), low=(2, 0, 1), high=(4, 2, 3)),)\n"
        "figure = Figure(title='Loss', kind='line', series=series, x_label='step', y_label='nats')\n"
        "sys.stdout.write(render_svg(figure, prefix='f0-'))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    series = (Series(name="s0", x=(0, 1, 2), y=(3, 1, 2), low=(2, 0, 1), high=(4, 2, 3)),)
    figure = Figure(title="Loss", kind="line", series=series, x_label="step", y_label="nats")
    assert done.stdout == render_svg(figure, prefix="f0-")


def test_ids_are_unique_on_the_page_and_every_reference_has_one(page: Page) -> None:
    ids = Counter(element.attributes["id"] for element in page.elements if "id" in element.attributes)
    assert [name for name, times in ids.items() if times > 1] == []
    links = [element.attributes["href"].removeprefix("#") for element in page.named("a", "use")]
    clips = [e.attributes["clip-path"][5:-1] for e in page.elements if "clip-path" in e.attributes]
    assert len(links) > 20
    assert len(clips) > 4
    assert set(links + clips) <= set(ids)


def test_a_drawing_has_its_title_as_its_name_and_its_words_as_text(page: Page) -> None:
    drawings = [element for element in page.named("svg") if "drawing" in element.classes]
    assert [d.attributes["aria-label"] for d in drawings][1:4] == ["Every version", "Loss", "Learning rate"]  # narrow
    assert "nats per token" in drawings[2].text


def test_a_drawing_follows_the_colour_scheme(page: Page) -> None:
    paints = [e.attributes.get("style", "") for e in page.elements if "svg" in e.inside]
    assert any("var(--series-0" in paint for paint in paints)
    fixed = [paint for paint in paints if re.search(r"(?:fill|stroke): #", paint) and "var(" not in paint]
    assert fixed == []  # no colour that stays as it is on a dark page


def test_each_kind_draws_a_shape_for_its_values() -> None:
    def shapes(figure: Figure) -> int:
        return sum("var(--series-" in e.attributes.get("style", "") for e in Page(render_svg(figure)).elements)

    bars = Figure(
        title="b", kind="bar", categories=("a", "b", "c"), x_label="x", y_label="y",
        series=(Series(name="s", x=(), y=(1, 2, 3)), Series(name="t", x=(), y=(3, 2, 1))),
    )  # fmt: skip
    assert shapes(bars) == 6
    assert shapes(_line((1, 2, 3) * 9, (3, 2, 1) * 9)) == 2
    assert shapes(_line((1, 2, 3))) > shapes(_line((1, math.nan, 3))) > 0


@pytest.mark.parametrize("kind", ["line", "points", "bar", "histogram", "heatmap"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1e300, -1e-300])
def test_degenerate_values_are_drawn_or_said_to_be_missing_but_never_fail(kind: FigureKind, value: float) -> None:
    x, y = ((value, value), ()) if kind == "histogram" else ((0.0, 1.0), (value, value))
    names = ("a", "b") if kind == "points" else ()
    series = (Series(name="s", x=x, y=y),)
    figure = Figure(title="t", kind=kind, series=series, x_label="x", y_label="y", categories=names)
    drawing = Page(render_svg(figure))
    assert ("nothing was measured" in drawing.elements[0].text) == (not math.isfinite(value))


def test_an_empty_figure_says_so() -> None:
    figure = Figure(title="t", kind="line", series=(), x_label="x", y_label="y")
    assert "nothing was measured" in Page(render_svg(figure)).elements[0].text


def test_a_histogram_counts_every_finite_value_once() -> None:
    raw = tuple(math.sin(n) for n in range(100))
    series = (Series(name="a", x=raw, y=()), Series(name="b", x=(*raw[:30], math.nan), y=()))
    counted = binned(Figure(title="t", kind="histogram", series=series, x_label="x", y_label="n"))
    assert [sum(s.y) for s in counted] == [100, 30]
    assert counted[0].x == counted[1].x


@pytest.mark.parametrize(
    "kind, x, y, told",
    [
        ("line", (0, 1), (1,), "has 1 values; it needs 2"),
        ("histogram", (0, 1), (1, 2), "it needs 1, one for each pair of bin edges"),
        ("pie", (), (), "'pie'; it can be line, points, bar"),
    ],
)
def test_a_figure_whose_parts_do_not_fit_is_refused(kind: FigureKind, x: tuple, y: tuple, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Figure(title="t", kind=kind, series=(Series(name="s", x=x, y=y),), x_label="x", y_label="y")


def _texts(figure: Figure) -> list[str]:
    return [element.text.strip() for element in Page(render_svg(figure)).named("text")]


def _bars(count: int, height: float = 1.0) -> Figure:
    names = tuple("abcdefgh"[:count])
    series = (Series(name="s", x=(), y=(height,) * count),)
    return Figure(title="t", kind="bar", series=series, x_label="x", y_label="y", categories=names)


def test_points_stand_over_the_names_of_their_places() -> None:
    names = ("pretrain", "sft", "rlhf-v1")
    series = (Series(name="s", x=(), y=(1, 2, 3), low=(0, 1, 2), high=(2, 3, 4)),)
    figure = Figure(title="t", kind="points", series=series, x_label="model", y_label="y", categories=names)
    assert [text for text in _texts(figure) if text in names] == list(names)


def test_a_lone_bar_is_no_wider_than_one_of_four() -> None:
    def width(figure: Figure) -> float:
        bar = next(e for e in Page(render_svg(figure)).named("path") if "--series-0" in e.attributes.get("style", ""))
        places = [float(x) for x in re.findall(r"[ML] ?([-0-9.]+)", bar.attributes["d"])]
        return max(places) - min(places)

    assert width(_bars(1)) == pytest.approx(width(_bars(4)), rel=0.01)


def test_a_short_line_has_a_tick_at_each_of_its_places_and_one_point_has_one() -> None:
    assert {"1", "2", "4", "8", "16"} <= set(_texts(_at(1, 2, 4, 8, 16)))
    assert [text for text in _texts(_at(7)) if text in ("6.95", "7", "7.05")] == ["7"]


def _at(*places: float) -> Figure:
    series = (Series(name="s", x=places, y=tuple(100.0 + place for place in places)),)
    return Figure(title="t", kind="line", series=series, x_label="N", y_label="y")


def test_two_equal_lines_are_both_to_be_seen() -> None:
    drawn = Page(render_svg(_line((1, 2, 3) * 9, (1, 2, 3) * 9))).named("path")
    dashes = ["dasharray" in e.attributes["style"] for e in drawn if "--series-" in e.attributes.get("style", "")]
    assert dashes == [False, True]  # the upper one leaves gaps


def test_a_long_label_is_broken_into_lines_and_not_cut() -> None:
    label = "how much better the chosen answer is than the rejected one in the annotators' words"
    figure = Figure(title="t", kind="line", series=_at(1, 2).series, x_label=label, y_label=label)
    assert sorted(" ".join(_texts(figure)).split()).count("annotators'") == 2
    assert "…" not in " ".join(_texts(figure))
