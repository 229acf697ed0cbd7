"""Several runs in one table: pooled over prompts, with each run's own mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import UsageError
from alignment.evaluate.result import Comparison, Evaluation, HeadToHead, ScoredAnswer
from alignment.evaluate.seeds import evaluate_folder, seeds_table, win_table


def answer(helpfulness: float, group: str = "") -> ScoredAnswer:
    scores = {"gold.helpfulness": helpfulness, "gold.correct": helpfulness, "gold.format": 1.0}
    return ScoredAnswer(version="sft", campaign="helpfulness", prompt="p", person_group=group, scores=scores)


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
        evaluate_folder(tmp_path)


def test_the_win_table_holds_each_runs_rate_against_the_first_chat_model() -> None:
    def run(rate: float) -> Evaluation:
        pair = {"wins": 1, "ties": 0, "losses": 1, "rate": rate, "low": 0.0, "high": 1.0, "decided": 0.5}
        rates = (HeadToHead(later="v1", earlier="sft", **pair), HeadToHead(later="v2", earlier="v1", **pair))
        won = Comparison(
            campaign="safety", judge="gold", figure="gold.safety", prompts=2, ranking=(("v1", 1.0),), win_rates=rates
        )
        return Evaluation(versions=(), comparisons=(won,))

    assert win_table([run(0.25), run(0.75)]).splitlines() == [
        "| version against sft | gold, safety |",
        "|---|---|",
        "| v1 | 0.25, 0.75 |",
    ]
