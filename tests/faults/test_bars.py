"""The table of bars: every command can be run, every bar has its row in the document, figures are read as printed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.faults.bars import DOCUMENT, ROOT, Bar, figure, last_figures, read_bars, table


@pytest.mark.parametrize("bar", read_bars(), ids=lambda bar: bar.id)
def test_a_bars_command_names_files_and_modules_that_are_there(bar: Bar) -> None:
    module, *rest = bar.arguments
    assert importlib.util.find_spec(module) is not None
    for part in rest:
        if part.startswith("tests/"):
            assert (ROOT / part).exists(), part


def test_every_bar_has_its_row_and_its_last_figure_in_the_document() -> None:
    rows = last_figures(DOCUMENT.read_text(encoding="utf-8"))
    bars = {bar.id for bar in read_bars()}
    assert bars <= rows.keys()
    assert {name: text for name, text in rows.items() if name in bars and "not yet shown" in text} == {}
    assert {name: text for name, text in rows.items() if name in bars and "DOES NOT HOLD" in text} == {}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("....\n12 passed, 1 skipped in 3.20s", "12 passed, 1 skipped"),
        ("== 2 failed, 3 passed in 61.00s (0:01:01) ==", "2 failed, 3 passed"),
        (
            "a line\n220 of 220 mutants of 19 functions killed in 99 s\n",
            "220 of 220 mutants of 19 functions killed in 99 s",
        ),
        ("", "no output"),
    ],
)
def test_the_figure_is_the_summary_or_the_last_line(output: str, expected: str) -> None:
    assert figure(output) == expected


def test_figures_survive_writing_and_reading(tmp_path: Path) -> None:
    bars = read_bars()
    figures = {bar.id: f"figure of {bar.id}" for bar in bars}
    assert {name: text for name, text in last_figures(table(bars, figures)).items() if name in figures} == figures
