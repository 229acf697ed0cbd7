"""A reward model's chapter of the page: one accuracy, grades in their order, the scores' distribution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.report.blocks import Block, Facts, Section
from alignment.report.series import Figure
from alignment.report.table import Table
from alignment.store.journal import Journal
from reward.report import compared_figures, section
from reward.result import (
    Calibration,
    CalibrationBin,
    Estimate,
    LengthBias,
    RewardEvaluation,
    Share,
    ThresholdPoint,
)

GRADES = ("significantly", "better", "slightly", "negligibly")


def chapter(folder: Path, *groups: str, scores: dict[str, list[float]] | None = None) -> Section:
    """The chapter of a model whose training counted another accuracy than its evaluation."""
    accuracy = {group: Share(value=0.731, low=0.65, high=0.8, pairs=52) for group in groups}
    gap = Estimate(value=0.5, low=0.4, high=0.6)
    found = RewardEvaluation(accuracy=accuracy, mean_gap=dict.fromkeys(groups, gap), scores=scores or {})
    (folder / "evaluation.json").write_text(json.dumps(found.as_json(), sort_keys=True))  # as a run writes it
    with Journal(folder / "metrics.jsonl") as journal:
        for step in (1, 2):
            journal.append({"step": step, "accuracy": 0.5, "held_out_accuracy": 0.615, "loss": 0.7})
    return section(folder, stage="reward-helpfulness", result={"steps": 2, "accuracy": 0.615})


def all_blocks(found: Section) -> list[Block]:
    return [*found.blocks, *found.details]


def test_a_reward_model_has_one_accuracy_and_one_rule_for_ties(tmp_path: Path) -> None:
    found = chapter(tmp_path, "all", *(f"grade:{grade}" for grade in GRADES))
    assert found.summary == "accuracy 0.73 [0.65, 0.80] on 52 held-out pairs; a tie counts half"
    facts = [item for block in all_blocks(found) if isinstance(block, Facts) for item in block.items]
    assert "accuracy" not in dict(facts)
    drawn = [series for block in all_blocks(found) if isinstance(block, Figure) for series in block.series]
    assert 0.615 not in [y for series in drawn for y in series.y]


def test_grades_stand_from_the_clearest_down_whatever_the_files_order(tmp_path: Path) -> None:
    found = chapter(
        tmp_path, "source:a.jsonl", "grade:ungraded", "all", *(f"grade:{grade}" for grade in sorted(GRADES))
    )
    (bars,) = (block for block in found.blocks if isinstance(block, Figure))
    assert bars.categories == (*GRADES, "ungraded")
    (table,) = (block for block in found.details if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["all", *GRADES, "ungraded", "from a.jsonl"]


def test_the_distribution_of_the_scores_is_drawn(tmp_path: Path) -> None:
    found = chapter(tmp_path, "all", scores={"counts": [1.0, 3.0], "edges": [-1.0, 0.0, 1.0]})
    (drawn,) = (block for block in found.blocks if isinstance(block, Figure))
    assert (drawn.kind, drawn.series[0].x, drawn.series[0].y) == ("histogram", (-1.0, 0.0, 1.0), (1.0, 3.0))


def test_safe_and_unsafe_answers_are_drawn_apart_where_they_are_labelled(tmp_path: Path) -> None:
    scores = {"counts": [2.0, 3.0], "edges": [-1.0, 0.0, 1.0], "safe": [0.0, 2.0], "unsafe": [1.0, 0.0]}
    (drawn,) = (block for block in chapter(tmp_path, "all", scores=scores).blocks if isinstance(block, Figure))
    assert {series.name: series.y for series in drawn.series} == {"safe": (0.0, 2.0), "unsafe": (1.0, 0.0)}


@pytest.mark.parametrize("scores", [{}, {"counts": [0.0], "edges": [0.0, 1.0]}])
def test_a_model_without_held_out_pairs_has_no_empty_figures(scores: dict[str, list[float]], tmp_path: Path) -> None:
    found = chapter(tmp_path, scores=scores)
    assert (found.summary, found.blocks) == ("", ())


def test_what_a_reward_model_scored_is_marked_as_its_word(tmp_path: Path) -> None:
    (table,) = (block for block in chapter(tmp_path, "all").details if isinstance(block, Table))
    assert table.scored_by == "reward"


SOME = Estimate(value=0.5, low=0.4, high=0.6)
BINS = (CalibrationBin(predicted=0.6, observed=SOME, number=9),)


@pytest.fixture
def measured_chapter(tmp_path: Path) -> Section:
    """The chapter of a safety model with everything that can be measured."""
    found = RewardEvaluation(
        labelled=9,
        safety={"recall_of_unsafe": SOME},
        unsafe_curve=(
            ThresholdPoint(threshold=0.1, flagged=0.0, precision=None, recall=SOME),
            ThresholdPoint(threshold=0.2, flagged=0.5, precision=SOME, recall=SOME),
        ),
        calibration={"pairs": Calibration(error=SOME, bins=BINS), "labels": Calibration(error=SOME, bins=BINS)},
        length=LengthBias(scores=SOME, gaps=None, accuracy={"matched": Share(value=0.5, low=0.4, high=0.6, pairs=7)}),
    )
    (tmp_path / "evaluation.json").write_text(json.dumps(found.as_json()))
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1, "loss": 0.7})
    return section(tmp_path, stage="reward-safety", result={"steps": 1}, safety_threshold=0.15)


def test_curves_and_length_are_folded(measured_chapter: Section) -> None:
    assert measured_chapter.blocks == ()
    titles = [block.title for block in measured_chapter.details if isinstance(block, (Figure, Table))]
    assert titles[:4] == [
        "The unsafe side by threshold",
        "Calibration on pairs",
        "Calibration on safety labels",
        "Length bias",
    ]


def test_the_recipes_threshold_is_marked_where_the_unsafe_side_is_drawn(measured_chapter: Section) -> None:
    drawn = next(block for block in measured_chapter.details if isinstance(block, Figure))
    marked = next(series for series in drawn.series if series.name == "the recipe's threshold, 0.15")
    assert (marked.x, marked.y) == ((0.15, 0.15), (0.0, 1.0))
    precision = next(series for series in drawn.series if series.name == "precision")
    assert str(precision.y) == "(nan, 0.5)"


def test_the_length_table_says_only_what_can_be_said(measured_chapter: Section) -> None:
    (table,) = (b for b in measured_chapter.details if isinstance(b, Table) and b.title == "Length bias")
    assert [row[0] for row in table.rows] == ["correlation of score and length", "accuracy, matched"]


def test_an_evaluation_of_an_earlier_version_is_still_shown(tmp_path: Path) -> None:
    old = {
        "accuracy": {"all": {"value": 0.7, "low": 0.6, "high": 0.8, "pairs": 52}},
        "mean_gap": {"all": 0.5},
        "safety": {"answers": 9.0, "recall_of_unsafe": 0.5},
        "scores": {"counts": [1.0], "edges": [0.0, 1.0]},
    }
    (tmp_path / "evaluation.json").write_text(json.dumps(old))
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1, "loss": 0.7})
    found = section(tmp_path, stage="reward-safety", result={})
    (table,) = (block for block in found.details if isinstance(block, Table))
    assert table.rows[0][2] == 0.5
    (facts, _) = (block for block in found.details if isinstance(block, Facts))
    assert dict(facts.items)["recall of unsafe"] == 0.5


def test_a_study_compares_grades_and_the_unsafe_side_and_no_source_that_is_called_after_a_seed(tmp_path: Path) -> None:
    assert compared_figures(tmp_path) == {}
    chapter(tmp_path, "all", "grade:better", "safety:both safe", "source:world:64/0/preferences")
    assert compared_figures(tmp_path) == {
        "accuracy, all": 0.731,
        "accuracy, better": 0.731,
        "accuracy, both safe": 0.731,
    }


def test_a_study_compares_calibration_and_length(tmp_path: Path, measured_chapter: Section) -> None:
    assert measured_chapter.id == "reward-safety"
    assert compared_figures(tmp_path) == {
        "recall of unsafe": 0.5,
        "expected calibration error, pairs": 0.5,
        "expected calibration error, labels": 0.5,
        "correlation of score and length": 0.5,
        "accuracy, lengths matched": 0.5,
    }
