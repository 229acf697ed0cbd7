"""The page in a real browser: it fits wide and narrow windows, draws its figures, runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.report.as_html import to_html
from alignment.report.blocks import Exchange, Report, Section, SideBySide
from alignment.report.table import Interval, Table
from tests.alignment.report.browser import NEEDS_BROWSER, measured

pytestmark = NEEDS_BROWSER


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_and_every_figure_draws(sample_report: Report, tmp_path: Path, width: int) -> None:
    seen = measured(to_html(sample_report), tmp_path, width=width)
    assert width - 20 <= seen["width"] <= width  # a scroll bar may take some
    assert seen["outside"] == []
    assert seen["scroll"] <= seen["width"]
    assert len(seen["drawings"]) == 8
    for drawing in seen["drawings"]:
        assert drawing["painted"] > 0
        assert min(drawing["width"], 2 * drawing["height"]) > 200


def test_a_very_long_word_does_not_widen_a_narrow_page(tmp_path: Path) -> None:
    word = "Donaudampfschifffahrt" * 40
    turn = (Exchange(role="user", text=word),)
    block = SideBySide(title=word, prompt=turn, answers=((word, word, {word: 0.5}), ("sft", word, {})))
    section = Section(id="s", title=word, blocks=(block,))
    report = Report(title=word, subtitle=word, facts=((word, word),), sections=(section,))
    seen = measured(to_html(report), tmp_path, width=390)
    assert seen["outside"] == []
    assert seen["scroll"] <= seen["width"]


def test_no_text_runs_even_where_no_policy_holds_it_back(tmp_path: Path) -> None:
    run = "document.title='taken over'"
    texts = (f"<script>{run}</script>", f'"><img src=x onerror="{run}">', f"</title></style><svg onload={run}>")
    blocks = tuple(
        SideBySide(title=text, prompt=(Exchange(role=text, text=text),), answers=((text, text, {text: 0.5}),))
        for text in texts
    )
    report = Report(title="safe", sections=(Section(id=texts[0], title=texts[1], summary=texts[2], blocks=blocks),))
    assert measured(to_html(report), tmp_path, width=1280)["title"] == "safe"


@pytest.mark.parametrize("columns", [3, 6, 9])
def test_a_table_of_intervals_is_not_cut_at_the_right_or_at_the_bottom(columns: int, tmp_path: Path) -> None:
    cell = Interval(value=0.54321, low=0.43, high=0.65)
    heads = ("version", *(f"gold.part{n}" for n in range(1, columns)))
    rows = tuple((f"rlhf-v{n}", *[cell] * (columns - 1)) for n in range(20))
    table = Table(title="Parts", columns=heads, rows=rows)
    report = Report(title="r", sections=(Section(id="s", title="s", blocks=(table,)),))
    assert measured(to_html(report), tmp_path, width=1280)["cut"] == []
