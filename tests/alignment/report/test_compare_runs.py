"""Runs side by side: shared tables and facts with differences, what is missing, what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from alignment.errors import UsageError
from alignment.report.as_html import to_html
from alignment.report.as_json import from_json, to_json
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import Facts, Paragraph, Report, Section
from alignment.report.compare import compare
from alignment.report.table import Cell, Interval, Table

HELPFUL = "Held-out helpfulness prompts"


def _measured(value: float) -> Interval:
    return Interval(value=value, low=value - 0.05, high=value + 0.04)


def _run(*scores: float, judge: str = "gold", gatt: bool = True, seconds: float = 10.0) -> dict[str, Any]:
    """A run whose versions sft, rlhf-v1, … have these helpfulness scores, as its report.json."""
    versions = ("sft", *(f"rlhf-v{n}" for n in range(1, len(scores))))
    rows = tuple((name, 150, _measured(score)) for name, score in zip(versions, scores, strict=True))
    table = Table(title=HELPFUL, columns=("version", "prompts", "gold.helpfulness"), rows=rows, note="bootstrap")
    figures = Facts(title="Figures", items=(("seconds", seconds), ("device", "cpu")))
    sections = (
        Section(id="evaluate", title="Versions on held-out prompts", blocks=(table,)),
        Section(id="sft", title="Fine-tuning", blocks=(figures,)),
        Section(
            id="gatt",
            title="Ghost attention",
            status="finished" if gatt else "missing",
            blocks=(figures,) if gatt else (),
        ),
    )
    report = Report(title="a run", sections=sections, facts=(("judge", judge), ("seed", 0)), created="2025-01-01")
    return json.loads(json.dumps(to_json(report)))


def _tables(report: Report, section: str) -> list[Table]:
    (found,) = (s for s in report.sections if s.id == section)
    return [block for block in (*found.blocks, *found.details) if isinstance(block, Table)]


def _column_of(report: Report, name: str) -> dict[Cell, dict[str, Cell]]:
    """The comparison of one figure of the helpfulness table: version -> column -> cell."""
    (table,) = (t for t in _tables(report, "evaluate") if HELPFUL in t.title and name in (t.title + "".join(t.columns)))
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_each_version_has_each_runs_figure_with_its_interval_and_the_difference_to_the_first_run() -> None:
    report = compare([("base", _run(0.2, 0.3)), ("new", _run(0.25, 0.5))])
    figures = _column_of(report, "gold.helpfulness")
    assert list(figures) == ["sft", "rlhf-v1"]
    cells = list(figures["rlhf-v1"].values())
    assert cells[1:3] == [_measured(0.3), _measured(0.5)]
    assert cells[3:] == [pytest.approx(0.2)]


def test_three_runs_have_two_differences_both_to_the_first() -> None:
    report = compare([("a", _run(0.2)), ("b", _run(0.3)), ("c", _run(0.6))])
    cells = list(_column_of(report, "gold.helpfulness")["sft"].values())
    assert cells[4:] == [pytest.approx(0.1), pytest.approx(0.4)]


def test_rows_are_matched_by_their_first_cell_and_not_by_their_place() -> None:
    turned = _run(0.2, 0.3)
    for block in turned["sections"][0]["blocks"]:
        block["rows"].reverse()
    report = compare([("a", _run(0.2, 0.3)), ("b", turned)])
    assert [list(cells.values())[-1] for cells in _column_of(report, "gold.helpfulness").values()] == [0, 0]


def test_a_version_that_one_run_has_not_got_has_no_difference() -> None:
    report = compare([("a", _run(0.2, 0.3)), ("b", _run(0.25, 0.35, 0.45))])
    cells = list(_column_of(report, "gold.helpfulness")["rlhf-v2"].values())
    assert cells[1:] == [None, _measured(0.45), None]


def test_shared_facts_stand_side_by_side() -> None:
    report = compare([("a", _run(0.2, seconds=10.0)), ("b", _run(0.2, seconds=12.5))])
    (table,) = _tables(report, "sft")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["seconds"] == (10.0, 12.5, 2.5)
    assert rows["device"] == ("cpu", "cpu", None)


def test_a_stage_that_a_run_has_not_got_is_named_with_the_run() -> None:
    report = compare([("with", _run(0.2)), ("without", _run(0.2, gatt=False))])
    (section,) = (s for s in report.sections if s.id == "gatt")
    assert section.missing
    assert "without" in section.lead
    assert "without" in to_markdown(report).split("## Ghost attention")[1]


def test_a_section_that_stands_in_the_later_run_only_is_named_too() -> None:
    first = _run(0.2)
    del first["sections"][2]
    report = compare([("first", first), ("second", _run(0.2))])
    (section,) = (s for s in report.sections if s.id == "gatt")
    assert "first" in section.lead


def _judged(figure: float, *, gold: str, reward: str) -> dict[str, Any]:
    """A run with one figure by each of two judges, and one by nobody."""
    blocks = (
        Table(title="Gold", columns=("version", "prompts", "score"), rows=(("sft", 9, figure),), scored_by="gold"),
        Facts(title="Rewards", items=(("best reward", figure),), scored_by="reward"),
        Facts(title="Counts", items=(("steps", figure),)),
    )
    return to_json(
        Report(
            title="a run",
            sections=(Section(id="s", title="s", details=blocks),),
            headline=(("gold, sft", figure),),
            headline_by="gold",
            judges=(("gold", gold), ("reward", reward)),
        )
    )


def _differences(report: Report) -> dict[str, Cell]:
    """Title of a table -> the difference in its first row."""
    return {
        block.title: block.rows[0][3]
        for section in report.sections
        for block in (*section.blocks, *section.details)
        if isinstance(block, Table) and len(block.columns) == 4
    }


def test_scores_of_two_different_judges_are_not_subtracted_and_the_cell_says_so() -> None:
    one, other = _judged(0.25, gold="town 1", reward="weights 1"), _judged(0.5, gold="town 1", reward="weights 2")
    report = compare([("a", one), ("b", other)])
    found = _differences(report)
    assert found == {
        "Headline figures": 0.25,
        "Gold: prompts": 0,
        "Gold: score": 0.25,
        "Rewards": "other judge",
        "Counts": 0.25,
    }
    (rewards,) = (table for table in _tables(report, "s") if table.title == "Rewards")
    assert rewards.rows == (
        ("best reward", 0.25, 0.5, "other judge"),
    )  # each run's own score stands there all the same
    assert "not subtracted" in rewards.note


def test_headline_figures_by_another_judge_are_not_subtracted_either() -> None:
    one, other = _judged(0.25, gold="town 1", reward="w"), _judged(0.5, gold="town 2", reward="w")
    found = _differences(compare([("a", one), ("b", other)]))
    assert (found["Headline figures"], found["Gold: score"], found["Gold: prompts"]) == (
        "other judge",
        "other judge",
        0,
    )


def test_the_judges_stand_side_by_side() -> None:
    report = compare([("a", _judged(0.1, gold="g", reward="w1")), ("b", _judged(0.1, gold="g", reward="w2"))])
    (judges,) = (table for table in _tables(report, "comparison") if table.title == "Judges")
    assert judges.rows == (("gold", "g", "g"), ("reward", "w1", "w2"))


def test_the_settings_that_differ_are_listed_and_no_others() -> None:
    settings = [{"seed": "0", "sft.epochs": "2.0"}, {"seed": "0", "sft.epochs": "3.0", "gatt.turns": "4"}]
    report = compare([("a", _run(0.2)), ("b", _run(0.2))], settings)
    (table,) = (table for table in _tables(report, "comparison") if table.title == "Settings that differ")
    assert table.rows == (("sft.epochs", "2.0", "3.0"), ("gatt.turns", "–", "4"))


def test_runs_of_the_same_settings_are_said_to_be_so() -> None:
    report = compare([("a", _run(0.2)), ("b", _run(0.2))], [{"seed": "0"}, {"seed": "0"}])
    assert Paragraph(text="All settings are the same.") in report.sections[0].blocks


def test_other_versions_of_the_packages_are_listed() -> None:
    def made_with(torch: str) -> dict[str, Any]:
        facts = Facts(title="Versions", items=(("python", "3.11"), ("torch", torch)))
        return to_json(Report(title="a run", sections=(Section(id="reproduce", title="r", details=(facts,)),)))

    (table,) = _tables(compare([("a", made_with("2.5")), ("b", made_with("2.6"))]), "comparison")
    assert (table.title, table.rows) == ("Versions and machines that differ", (("torch", "2.5", "2.6"),))


@pytest.mark.parametrize("names", [(), ("a",), ("a", "a")])
def test_a_comparison_needs_two_runs_of_different_names(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="two or more runs"):
        compare([(name, _run(0.2)) for name in names])


@pytest.mark.parametrize("part", ["sections", "facts", "title", "schema", "version"])
def test_a_damaged_report_is_refused_by_its_run_and_the_part_that_is_missing(part: str) -> None:
    damaged = _run(0.2)
    del damaged[part]
    with pytest.raises(UsageError, match=part) as error:
        compare([("whole", _run(0.2)), ("broken", damaged)])
    assert "broken" in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("value", [None, 3, [1], "text", {}])
def test_what_is_no_report_at_all_is_refused_by_its_run(value: Any) -> None:
    with pytest.raises(UsageError, match="broken is not a report"):
        compare([("whole", _run(0.2)), ("broken", value)])


def test_rows_of_one_first_cell_are_all_kept_and_told_apart_by_the_texts_after_it() -> None:
    rows = (("safety", "world", "train", 600), ("safety", "world", "held_out", 150))
    table = Table(title="Data", columns=("set", "source", "part", "rows read"), rows=rows)
    value = to_json(Report(title="a run", sections=(Section(id="s", title="s", blocks=(table,)),)))
    (shown,) = _tables(compare([("a", value), ("b", value)]), "s")
    assert shown.rows == (("safety · world · train", 600, 600, 0.0), ("safety · world · held_out", 150, 150, 0.0))


def test_rows_that_nothing_tells_apart_are_all_kept() -> None:
    table = Table(title="Data", columns=("set", "n"), rows=(("a", 1), ("a", 2)))
    value = to_json(Report(title="a run", sections=(Section(id="s", title="s", blocks=(table,)),)))
    (shown,) = _tables(compare([("a", value), ("b", value)]), "s")
    assert [row[:2] for row in shown.rows] == [("a", 1), ("a (2)", 2)]


def test_figures_among_the_facts_of_the_runs_are_the_headline_figures() -> None:
    report = compare([("a", _run(0.2)), ("b", _run(0.2))])
    assert [row for table in _tables(report, "comparison") for row in table.rows] == [("seed", 0, 0, 0.0)]


def test_a_comparison_changes_nothing_of_what_it_was_given_and_is_the_same_each_time() -> None:
    runs = [("a", _run(0.2, 0.3)), ("b", _run(0.25, 0.5))]
    kept = copy.deepcopy(runs)
    first = to_json(compare(runs))
    assert runs == kept
    assert to_json(compare(runs)) == first


def test_a_comparison_of_reports_with_every_kind_of_block_has_all_three_twins(sample_report: Report) -> None:
    value = json.loads(json.dumps(to_json(sample_report)))
    report = compare([("a", value), ("b", value)])
    assert from_json(to_json(report)) == report
    assert "a · b" in to_html(report)
    differences = [
        row[len(table.columns) - 1]
        for section in report.sections
        for table in (*section.blocks, *section.details)
        if isinstance(table, Table) and table.title != "Judges"
        for row in table.rows
    ]
    assert len(differences) > 30
    assert {cell for cell in differences if cell is not None} == {0.0}
