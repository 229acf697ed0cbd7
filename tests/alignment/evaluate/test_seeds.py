"""Several runs in one table: pooled over prompts, with each run's own mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment.errors import UsageError
from alignment.evaluate.seeds import read_answers, seeds_table


def answer(helpfulness: float, group: str = "") -> dict[str, Any]:
    scores = {"gold.helpfulness": helpfulness, "gold.correct": helpfulness, "gold.format": 1.0}
    return {"version": "sft", "campaign": "helpfulness", "person_group": group, "scores": scores}


def test_a_cell_pools_the_runs_prompts_and_shows_each_runs_mean() -> None:
    row = seeds_table([[answer(0.0), answer(1.0)], [answer(1.0), answer(1.0)]]).splitlines()[2]
    assert "| sft | 0.75 [" in row
    assert "(0.50, 1.00)" in row


def test_people_of_validation_and_test_are_the_held_out_ones() -> None:
    row = seeds_table([[answer(1.0, "train"), answer(0.0, "validation"), answer(0.0, "test"), answer(0.5)]])
    cells = row.splitlines()[2].split(" | ")
    assert cells[3].startswith("1.00 ")
    assert cells[4].startswith("0.00 ")


def test_what_no_run_measured_is_a_dash() -> None:
    assert seeds_table([[answer(0.5)]]).splitlines()[2].endswith("– |")


def test_a_run_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no evaluation"):
        read_answers(tmp_path)
