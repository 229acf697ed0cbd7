"""The evaluation's section of the page: every judge's figures, who took part in training, who wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.evaluate.report import section
from alignment.evaluate.result import (
    Comparison,
    Evaluation,
    HeadToHead,
    JudgeRecord,
    VersionScores,
    write_evaluation,
)
from alignment.report.figure import Figure
from alignment.report.table import Interval, Table

JUDGES = (JudgeRecord(name="reward", independent=False), JudgeRecord(name="endpoint", independent=True))


def evaluation(*figures: str, judges: tuple[JudgeRecord, ...] = JUDGES) -> Evaluation:
    means = {name: Interval(value=0.5, low=0.25, high=0.75) for name in figures}
    return Evaluation(
        versions=(VersionScores(version="sft", campaign="safety", task="", prompts=4, figures=means),), judges=judges
    )


def tables(folder: Path, found: Evaluation) -> dict[str, Table]:
    write_evaluation(folder, found, [])
    return {block.title: block for block in section(folder, num_examples=2).blocks if isinstance(block, Table)}


def test_an_outside_judges_scores_stand_beside_the_others_and_are_drawn(tmp_path: Path) -> None:
    found = tables(tmp_path, evaluation("endpoint.safety", "reward.safety", "answer_tokens"))
    assert found["Held-out safety prompts"].columns == ("version", "prompts", "endpoint.safety", "reward.safety")
    assert found["Parts, held-out safety prompts"].columns == ("version", "prompts", "answer_tokens")
    drawn = [block for block in section(tmp_path, num_examples=2).blocks if isinstance(block, Figure)]
    assert [figure.title.partition(",")[0] for figure in drawn] == ["endpoint judge", "reward judge"]


@pytest.mark.parametrize(
    ("judges", "said"),
    [
        (JUDGES, " Took no part in training: endpoint. Took part in it: reward."),
        (JUDGES[:1], " Took part in it: reward."),
        ((), ""),
    ],
)
def test_the_note_names_the_judges_that_there_were(judges: tuple[JudgeRecord, ...], said: str, tmp_path: Path) -> None:
    found = tables(tmp_path, evaluation("reward.safety", judges=judges))
    assert found["Held-out safety prompts"].note == f"Means with 95 % bootstrap intervals.{said}"


def test_who_wins_says_what_decided_and_from_where_on_scores_tie(tmp_path: Path) -> None:
    rate = HeadToHead(
        later="v1", earlier="sft", wins=1, ties=1, losses=2, rate=0.375, low=0.0, high=0.75, decided=1 / 3
    )
    won = Comparison(
        campaign="safety",
        judge="reward",
        figure="reward.safety",
        prompts=4,
        ranking=(("sft", 1040.0), ("v1", 960.0)),
        win_rates=(rate,),
        tie=0.1,
    )
    whole = Evaluation(versions=evaluation("reward.safety").versions, comparisons=(won,))
    table = tables(tmp_path, whole)["Who wins, reward judge, held-out safety prompts"]
    assert table.note.startswith("4 prompts, decided by reward.safety; scores at most 0.1 apart are a tie")
    assert table.rows[1][:3] == (2, "v1", 960)
    assert table.rows[1][4] == "1 / 1 / 2"
