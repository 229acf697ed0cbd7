"""A reward model's chapter of the page: one accuracy, grades in their order, the scores' distribution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.report.blocks import Block, Facts, Section
from alignment.report.series import Figure
from alignment.report.table import Table
from alignment.store.journal import Journal
from reward.report import section
from reward.result import RewardEvaluation, Share

GRADES = ("significantly", "better", "slightly", "negligibly")


def chapter(folder: Path, *groups: str, scores: dict[str, list[float]] | None = None) -> Section:
    """The chapter of a model whose training counted another accuracy than its evaluation."""
    accuracy = {group: Share(value=0.731, low=0.65, high=0.8, pairs=52) for group in groups}
    found = RewardEvaluation(accuracy=accuracy, mean_gap=dict.fromkeys(groups, 0.5), scores=scores or {})
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


@pytest.mark.parametrize("scores", [{}, {"counts": [0.0], "edges": [0.0, 1.0]}])
def test_a_model_without_held_out_pairs_has_no_empty_figures(scores: dict[str, list[float]], tmp_path: Path) -> None:
    found = chapter(tmp_path, scores=scores)
    assert (found.summary, found.blocks) == ("", ())


def test_what_a_reward_model_scored_is_marked_as_its_word(tmp_path: Path) -> None:
    (table,) = (block for block in chapter(tmp_path, "all").details if isinstance(block, Table))
    assert table.scored_by == "reward"
