"""The page, the Markdown and the JSON show the same figures, and JSON gives the report back."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.errors import DataError
from alignment.report.as_html import to_html
from alignment.report.as_json import from_json, to_json
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import Facts, Report, Section
from alignment.report.table import Cell, Interval, Table
from tests.alignment.report.page_reader import Page

_HAS_DIGIT = re.compile(r"\d")


def _shown(value: Any) -> Iterator[str]:
    """Every text under a "shown" key of the JSON twin."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "shown" and isinstance(inner, str):
                yield inner
            elif key == "shown" and isinstance(inner, list):
                yield from (cell for row in inner for cell in row)
            else:
                yield from _shown(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _shown(inner)


def _markdown_cells(markdown: str) -> list[str]:
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    judged = [part for line in markdown.splitlines() if line.startswith("*") for part in re.split(r"[ ,]+", line)]
    return [re.sub(r"\\(.)", r"\1", cell) for cell in cells + judged]


@pytest.fixture(scope="module")
def page(sample_report: Report) -> Page:
    return Page(to_html(sample_report))


def test_every_figure_of_the_page_stands_in_the_markdown_and_the_json(sample_report: Report, page: Page) -> None:
    figures = {text for text in page.figures_shown() if _HAS_DIGIT.search(text)}
    assert len(figures) > 200
    assert figures - set(_shown(to_json(sample_report))) == set()
    assert figures - set(_markdown_cells(to_markdown(sample_report))) == set()


def test_the_page_leaves_out_no_figure_of_the_json(sample_report: Report, page: Page) -> None:
    on_page = Counter(page.figures_shown())
    in_json = Counter(" ".join(text.split()) for text in _shown(to_json(sample_report)))
    assert on_page == in_json  # not only the same figures, but each as often


def test_the_twins_count_the_trained_tokens_alike(sample_report: Report, page: Page) -> None:
    counted = [b for s in to_json(sample_report)["sections"] for b in s["blocks"] if b["type"] == "masked_text"]
    assert [(block["num_trained"], block["num_tokens"]) for block in counted] == [(8, 15)]
    assert "8 of 15 tokens" in to_markdown(sample_report)
    assert any("8 of 15 tokens" in note.text for note in page.named("p"))


def test_the_twins_share_an_id_that_changes_with_any_figure(sample_report: Report, page: Page) -> None:
    identity = to_json(sample_report)["id"]
    assert f"Report {identity}" in to_markdown(sample_report)
    assert f"Report {identity}" in page.named("footer")[0].text
    value = to_json(sample_report)
    value["sections"][0]["blocks"][0]["rows"][0][2] += 1e-9
    assert to_json(from_json(value))["id"] != identity


def test_a_report_comes_back_from_its_json_as_it_was(sample_report: Report) -> None:
    assert from_json(json.loads(json.dumps(to_json(sample_report), allow_nan=False))) == sample_report


_FLOATS = st.floats(allow_nan=False)
_FINITE = st.floats(-1e9, 1e9)
_INTERVALS = st.tuples(_FINITE, _FINITE, _FINITE).map(sorted).map(lambda t: Interval(low=t[0], value=t[1], high=t[2]))
_CELLS: st.SearchStrategy[Cell] = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), _FLOATS, _INTERVALS
)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=5))
def test_any_table_is_shown_alike_in_all_twins_and_kept_in_full(rows: list[tuple[Cell, Cell]]) -> None:
    table = Table(title="figures", columns=("one", "two"), rows=tuple(rows))
    report = Report(title="r", sections=(Section(id="s", title="s", blocks=(table,)),))
    in_json = list(_shown(to_json(report)))
    assert Page(to_html(report)).figures_shown() == in_json
    assert _markdown_cells(to_markdown(report))[4 : 4 + len(in_json)] == in_json  # after the heads and the rule
    assert from_json(json.loads(json.dumps(to_json(report), allow_nan=False))) == report


def test_what_is_not_finite_is_named_and_comes_back() -> None:
    items = (("lost", float("nan")), ("up", float("inf")), ("down", float("-inf")))
    report = Report(title="r", sections=(Section(id="s", title="s", blocks=(Facts(title="f", items=items),)),))
    assert Page(to_html(report)).figures_shown() == ["not a number", "∞", "-∞"]
    value = json.loads(json.dumps(to_json(report), allow_nan=False))
    assert repr(from_json(value)) == repr(report)


def _line(value: Any) -> Any:
    """The first figure of the sample report."""
    return value["sections"][1]["blocks"][0]


@pytest.mark.parametrize(
    "damage, told",
    [
        (lambda value: value.pop("sections"), "sections: Field required"),
        (lambda value: value.pop("facts"), "facts is missing"),
        (lambda value: value.update(schema="other"), "is not a report"),
        (lambda value: value.update(version=99), "schema version 99"),
        (lambda value: value["sections"][0]["blocks"][0].pop("columns"), "blocks.0.table.columns: Field required"),
        (lambda value: value["sections"][0]["blocks"][0]["rows"][0].pop(), "has 5 cells"),
        (lambda value: value["sections"][0]["blocks"][0].update(type="film"), "expected tags: 'table', 'figure'"),
        (lambda value: value.update(title=7), "title: Input should be a valid string, not '7'"),
        (lambda value: _line(value).update(x_label=None), r"figure\.x_label: Input should be a valid string"),
        (lambda value: _line(value)["series"][0]["y"].__setitem__(3, "0.5"), r"series\.0\.y\.3 is '0\.5', where 0\.5"),
        (lambda value: _line(value)["series"][0]["y"].__setitem__(3, {"float": "big"}), "KeyError: 'big'"),
    ],
)
def test_a_damaged_json_is_refused_by_the_name_of_what_is_wrong(sample_report: Report, damage: Any, told: str) -> None:
    value = to_json(sample_report)
    damage(value)
    with pytest.raises(DataError, match=told) as error:
        from_json(value, "runs/a/report.json")
    assert str(error.value).startswith("runs/a/report.json")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON value; of a list the first items alone."""
    for key in list(value) if isinstance(value, dict) else range(min(7, len(value))):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def _is_read(value: Any) -> bool:
    try:
        return isinstance(from_json(value), Report)
    except DataError:
        return False


@pytest.mark.parametrize("odd", [None, "x", 7, True, [], {}, [[]], {"float": "nan"}, {"type": "table"}], ids=str)
def test_whatever_stands_in_a_place_of_the_json_it_is_read_or_refused(sample_report: Report, odd: Any) -> None:
    blocks = {type(block): block for section in sample_report.sections for block in section.blocks}
    section = dataclasses.replace(sample_report.sections[0], blocks=tuple(blocks.values()))
    value = to_json(dataclasses.replace(sample_report, sections=(section,)))
    read = []
    for container, key in list(_places(value)):
        kept, container[key] = container[key], odd
        read.append(_is_read(value))  # no other error may come
        container[key] = kept
    assert len(read) > 300
    assert 50 < sum(read) < len(read) - 50
