"""Versions against each other, and facts by group of people, from scored answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from alignment.evaluate.comparisons import compare_versions
from alignment.evaluate.endpoint import EndpointJudge
from alignment.evaluate.result import ScoredAnswer
from alignment.evaluate.summary import recall
from alignment.judging import Decision
from alignment.records import Answer
from alignment.world.judge.gold import GoldJudge


class Judged:
    """A judge whose figures stand in the rows already."""

    def __init__(self, name: str, *, independent: bool = True, tie: float = 0.01) -> None:
        self.name, self.independent = name, independent
        self.decides = {campaign: Decision(figure="helpfulness", tie=tie) for campaign in ("helpfulness", "safety")}

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        return [{} for _ in answers]


GOLD = Judged("gold")


def answers(version: str, scores: list[float], *, campaign: str = "helpfulness") -> list[ScoredAnswer]:
    return [
        ScoredAnswer(version=version, campaign=campaign, prompt=f"p{i}", scores={"gold.helpfulness": score})
        for i, score in enumerate(scores)
    ]


def test_the_later_version_is_compared_with_the_earlier_one() -> None:
    rows = answers("sft", [0.2, 0.5, 0.9, 0.4]) + answers("v1", [0.8, 0.5, 0.1, 0.9])
    (found,) = compare_versions(rows, ["sft", "v1"], [GOLD], seed=0)
    assert (found.campaign, found.judge, found.figure) == ("helpfulness", "gold", "gold.helpfulness")
    (rate,) = found.win_rates
    assert (rate.later, rate.earlier) == ("v1", "sft")
    assert (rate.wins, rate.ties, rate.losses) == (2, 1, 1)
    assert rate.rate == pytest.approx(2.5 / 4)
    assert rate.low <= rate.rate <= rate.high
    assert [name for name, _ in found.ranking] == ["v1", "sft"]


def test_the_tie_of_a_comparison_is_the_judges_own_and_is_told() -> None:
    rows = answers("a", [0.5, 0.5]) + answers("b", [0.58, 0.7])
    (narrow,) = compare_versions(rows, ["a", "b"], [Judged("gold", tie=0.01)], seed=0)
    (wide,) = compare_versions(rows, ["a", "b"], [Judged("gold", tie=0.1)], seed=0)
    assert [(found.tie, found.win_rates[0].ties) for found in (narrow, wide)] == [(0.01, 0), (0.1, 1)]


def test_a_difference_below_the_tie_is_a_tie() -> None:
    rows = answers("a", [0.500, 0.5]) + answers("b", [0.505, 0.52])
    (rate,) = compare_versions(rows, ["a", "b"], [GOLD], seed=0)[0].win_rates
    assert (rate.wins, rate.ties, rate.losses) == (1, 1, 0)


def test_only_prompts_that_every_version_answered_count() -> None:
    rows = answers("a", [0.1, 0.1, 0.1]) + answers("b", [0.9])
    (found,) = compare_versions(rows, ["a", "b"], [GOLD], seed=0)
    assert found.prompts == 1


def test_versions_that_are_all_equal_decide_nothing() -> None:
    (rate,) = compare_versions(answers("a", [0.5]) + answers("b", [0.5]), ["a", "b"], [GOLD], seed=0)[0].win_rates
    assert rate.decided is None  # JSON has no NaN


def test_one_version_alone_is_not_compared() -> None:
    assert compare_versions(answers("a", [0.5]), ["a"], [GOLD], seed=0) == ()


def test_campaigns_are_compared_apart() -> None:
    rows = [row for name in ("a", "b") for row in answers(name, [0.5]) + answers(name, [0.5], campaign="safety")]
    assert [found.campaign for found in compare_versions(rows, ["a", "b"], [GOLD], seed=0)] == [
        "helpfulness",
        "safety",
    ]


def test_judges_that_took_no_part_in_training_are_named_first() -> None:
    rows = [row for name in ("a", "b") for row in answers(name, [0.5])]
    rows = [replace(row, scores={**row.scores, "reward.helpfulness": 1.0}) for row in rows]
    judges = [Judged("reward", independent=False), GOLD]
    assert [found.judge for found in compare_versions(rows, ["a", "b"], judges, seed=0)] == ["gold", "reward"]


def test_a_judge_that_decides_nothing_in_a_campaign_is_not_asked() -> None:
    silent = Judged("gold")
    silent.decides = {}
    rows = answers("a", [0.5]) + answers("b", [0.5])
    assert compare_versions(rows, ["a", "b"], [silent], seed=0) == ()


@pytest.mark.parametrize(
    ("judge", "campaign", "figure"),
    [
        (GoldJudge, "helpfulness", "helpfulness"),
        (GoldJudge, "safety", "safety"),
        (EndpointJudge, "helpfulness", "helpfulness"),
        (EndpointJudge, "safety", "safety"),
    ],
)
def test_who_wins_on_a_campaigns_prompts_is_decided_by_the_campaigns_figure(
    judge: type[GoldJudge] | type[EndpointJudge], campaign: str, figure: str
) -> None:
    assert judge.decides[campaign].figure == figure


def test_facts_are_counted_by_group_of_people_and_only_where_a_person_is_asked_about() -> None:
    def row(version: str, group: str, correct: float) -> ScoredAnswer:
        scores = {"gold.correct": correct}
        return ScoredAnswer(version=version, campaign="helpfulness", prompt="p", person_group=group, scores=scores)

    rows = [row("sft", "train", 1.0), row("sft", "train", 0.0), row("sft", "test", 0.0), row("sft", "", 1.0)]
    found = {entry.person_group: entry for entry in recall(rows, ["sft"], seed=0)}
    assert set(found) == {"train", "test"}
    assert (found["train"].prompts, found["train"].correct.value) == (2, 0.5)
    assert (found["test"].prompts, found["test"].correct.value) == (1, 0.0)
