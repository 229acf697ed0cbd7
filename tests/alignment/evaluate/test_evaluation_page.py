"""The evaluation's section of the page: every judge's figures, who took part in training, who wins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from alignment.evaluate.compared import Compared
from alignment.evaluate.report import section
from alignment.evaluate.result import (
    Comparison,
    Evaluation,
    HeadToHead,
    JudgeRecord,
    ScoredAnswer,
    VersionScores,
    write_evaluation,
)
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import Block, Report, SideBySide
from alignment.report.figure import Figure
from alignment.report.table import Interval, Table

JUDGES = (JudgeRecord(name="reward", independent=False), JudgeRecord(name="endpoint", independent=True))


def evaluation(*figures: str, judges: tuple[JudgeRecord, ...] = JUDGES) -> Evaluation:
    means = {name: Interval(value=0.5, low=0.25, high=0.75) for name in figures}
    return Evaluation(
        versions=(VersionScores(version="sft", campaign="safety", task="", prompts=4, figures=means),), judges=judges
    )


def blocks(folder: Path, found: Evaluation, answers: Sequence[ScoredAnswer] = ()) -> list[Block]:
    write_evaluation(folder, found, answers)
    made = section(folder, num_examples=2, compared=Compared(before="sft", after="v1", work="alignment"))
    return [*made.blocks, *made.details]


def tables(folder: Path, found: Evaluation) -> dict[str, Table]:
    return {block.title: block for block in blocks(folder, found) if isinstance(block, Table)}


def test_each_judge_has_a_table_and_a_figure_of_its_own(tmp_path: Path) -> None:
    measured = evaluation("endpoint.safety", "reward.safety", "reward.combined", "answer_tokens")
    found = tables(tmp_path, measured)
    by_endpoint = found["Held-out safety prompts, endpoint judge"]
    assert (by_endpoint.columns, by_endpoint.scored_by) == (("version", "prompts", "endpoint.safety"), "endpoint")
    by_reward = found["Held-out safety prompts, reward judge"]
    assert by_reward.columns == ("version", "prompts", "reward.safety", "reward.combined")
    assert found["Answers to held-out safety prompts"].scored_by == ""
    drawn = [block.title for block in blocks(tmp_path, measured) if isinstance(block, Figure)]
    assert drawn == [f"Held-out safety prompts, scored by the {judge} judge" for judge in ("endpoint", "reward")]


def test_the_axis_of_a_figure_names_the_models(tmp_path: Path) -> None:
    (drawn,) = (block for block in blocks(tmp_path, evaluation("gold.safety")) if isinstance(block, Figure))
    assert (drawn.kind, drawn.categories, drawn.x_label) == ("points", ("sft",), "model")


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
    note = found["Held-out safety prompts, reward judge"].note
    assert note == f"Means with 95 % bootstrap intervals.{said}"


def test_a_run_without_a_gold_judge_does_not_speak_of_one(tmp_path: Path) -> None:
    write_evaluation(tmp_path, evaluation("reward.safety", "reward.combined", judges=JUDGES[:1]), [])
    page = to_markdown(Report(title="r", sections=(section(tmp_path, num_examples=2),)))
    assert "reward" in page
    assert "gold" not in page


def test_who_wins_says_what_decided_and_against_whom_a_version_won(tmp_path: Path) -> None:
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
    assert table.note.startswith("4 prompts, decided by reward.safety of the reward judge; scores at most 0.1 apart")
    assert table.rows[1][:3] == ("v1", 2.0, 960.0)
    assert table.rows[1][5] == "against sft: won 1, tied 1, lost 2"


def test_no_version_stands_before_a_control(tmp_path: Path) -> None:
    names = ("sft", "v1", "control-steps")
    rates = tuple(
        HeadToHead(later=b, earlier=a, wins=1, ties=1, losses=2, rate=0.375, low=0.0, high=0.75, decided=1 / 3)
        for a, b in combinations(names, 2)
    )
    won = Comparison(
        campaign="safety",
        judge="reward",
        figure="reward.safety",
        prompts=4,
        ranking=tuple((name, 1000.0) for name in names),
        win_rates=rates,
    )
    means = evaluation("reward.safety").versions
    whole = Evaluation(versions=means, comparisons=(won,), controls=("control-steps",))
    table = tables(tmp_path, whole)["Who wins, reward judge, held-out safety prompts"]
    by_name = {row[0]: row[3:] for row in table.rows}
    against_base, *before = by_name["control-steps"]
    assert (against_base, before) == (Interval(value=0.375, low=0.0, high=0.75), [None, None])
    assert by_name["v1"][2] == "against sft: won 1, tied 1, lost 2"
    assert table.note.endswith("control-steps stands beside the versions and is none.")


def test_an_evaluation_without_controls_is_written_as_before(tmp_path: Path) -> None:
    write_evaluation(tmp_path, evaluation(), [])
    assert '"controls"' not in (tmp_path / "evaluation.json").read_text()


def said(text: str, *, tokens: float, finished: float) -> ScoredAnswer:
    scores = {"answer_tokens": tokens, "finished": finished}
    return ScoredAnswer(
        version="sft", campaign="safety", prompt="p", turns=(("user", "Hi?"),), answer=text, scores=scores
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (said("Hello.", tokens=3, finished=1), ()),
        (said("", tokens=1, finished=1), (("sft", "an empty answer"),)),
        (said("", tokens=223, finished=1), (("sft", "no text: 222 tokens of blanks and line ends"),)),
        (said("\n", tokens=64, finished=0), (("sft", "no text: 64 tokens of blanks and line ends, cut at the limit"),)),
    ],
)
def test_an_empty_answer_is_one_without_tokens(
    answer: ScoredAnswer, told: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    (shown,) = (b for b in blocks(tmp_path, evaluation(), [answer]) if isinstance(b, SideBySide))
    assert (shown.title, shown.remarks) == ("safety: Hi?", told)
