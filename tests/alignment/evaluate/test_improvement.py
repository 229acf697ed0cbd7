"""The top of the page: did training make the model better, by how much, and who says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from alignment.evaluate.compared import Compared
from alignment.evaluate.comparisons import compare_versions
from alignment.evaluate.improvement import headline, improvements, opening, sentence
from alignment.evaluate.judge_words import JudgeWords
from alignment.evaluate.result import Evaluation, JudgeRecord, Recall, ScoredAnswer
from alignment.evaluate.summary import summarise
from alignment.judging import Decision
from alignment.report.blocks import Opening, Paragraph
from alignment.report.series import Figure
from alignment.report.table import Interval

COMPARED = Compared(before="sft", after="rlhf-v2", work="alignment")
WORDS = JudgeWords.of_a_run("gpt-of-somebody")
VERSIONS = ("pretrain", "sft", "rlhf-v1", "rlhf-v2", "gatt")


class StubJudge:
    """A judge by name alone."""

    def __init__(self, name: str, *, independent: bool) -> None:
        self.name, self.independent = name, independent
        self.decides = {c: Decision(figure=c, tie=0.01) for c in ("helpfulness", "safety")}

    def judge(self, answers: Sequence[object]) -> list[dict[str, float]]:
        raise AssertionError("nothing is judged here")


GOLD, REWARD = StubJudge("gold", independent=True), StubJudge("reward", independent=False)


def evaluated(
    means: Mapping[str, Mapping[str, float]], judges: Sequence[StubJudge] = (REWARD, GOLD), *, count: int = 40
) -> tuple[Evaluation, list[ScoredAnswer]]:
    """An evaluation whose versions have these means of gold's figure, by campaign; a reward model's is ten times it.

    Prompts differ far more than versions do, and every version has a little noise of its own.
    """
    answers = [
        ScoredAnswer(
            version=version,
            campaign=campaign,
            prompt=f"{campaign}-{i}",
            turns=(("user", "?"),),
            answer="x",
            scores={
                f"{judge.name}.{campaign}": (mean + (i % 10 - 4.5) / 10 + ((i + k * (i // 5)) % 5 - 2) / 100)
                * (1 if judge.independent else 10)
                for judge in judges
            },
        )
        for campaign, by_version in means.items()
        for k, (version, mean) in enumerate(by_version.items())
        for i in range(count)
    ]
    names = list(dict.fromkeys(answer.version for answer in answers))
    return Evaluation(
        versions=summarise(answers, names, seed=0),
        comparisons=compare_versions(answers, names, judges, seed=0),
        judges=tuple(JudgeRecord(name=judge.name, independent=judge.independent) for judge in judges),
    ), answers


def of(*values: float) -> dict[str, float]:
    return dict(zip(VERSIONS, values, strict=True))


BETTER = evaluated({"helpfulness": of(0.1, 0.4, 0.5, 0.6, 0.2), "safety": of(0.5, 0.7, 0.75, 0.8, 0.6)})


def said(found: tuple[Evaluation, list[ScoredAnswer]], compared: Compared = COMPARED) -> str:
    return sentence(improvements(*found, compared), compared, WORDS)


def test_the_sentence_names_the_judge_the_models_the_difference_and_its_interval() -> None:
    text = said(BETTER)
    assert text.startswith("Did alignment improve the model? Yes. From sft to rlhf-v2, helpfulness rose (+0.200 [0.19")
    assert "0.40 to 0.60, 40 prompts), and safety rose (+0.100 [0.0" in text
    assert "0.70 to 0.80, 40 prompts)" in text
    assert "judged by the gold judge of the embedded world, which took no part in training" in text


def test_the_last_model_is_not_compared_only_because_it_is_the_last() -> None:
    assert all(one.after.value > one.before.value for one in improvements(*BETTER, COMPARED))  # gatt is worse than sft


def test_the_difference_is_paired_by_prompt() -> None:
    (helpfulness, _) = improvements(*BETTER, COMPARED)
    alone = helpfulness.after.high - helpfulness.after.low
    assert helpfulness.difference.high - helpfulness.difference.low < alone / 4


def test_a_figure_has_one_interval_on_the_page() -> None:
    evaluation, answers = BETTER
    (row,) = (r for r in evaluation.versions if r.version == "sft" and r.campaign == "helpfulness")
    assert improvements(evaluation, answers, COMPARED)[0].before == row.figures["gold.helpfulness"]


@pytest.mark.parametrize(
    ("helpfulness", "safety", "told"),
    [
        ((0.5, 0.4), (0.7, 0.6), "No: alignment made it worse."),
        ((0.5, 0.5), (0.7, 0.7), "That cannot be told: no difference stands out from the noise."),
        ((0.5, 0.6), (0.7, 0.6), "In part."),
        ((0.5, 0.6), (0.7, 0.7), "In part."),
    ],
)
def test_the_answer_says_no_more_than_the_intervals_do(
    helpfulness: tuple[float, float], safety: tuple[float, float], told: str
) -> None:
    def course(ends: tuple[float, float]) -> dict[str, float]:
        return dict(zip(("sft", "rlhf-v2"), ends, strict=True))

    found = evaluated({"helpfulness": course(helpfulness), "safety": course(safety)})
    assert said(found).startswith(f"Did alignment improve the model? {told} From sft to rlhf-v2, helpfulness ")


def test_reward_models_are_named_as_judges_that_took_part_in_training() -> None:
    text = said(evaluated({"helpfulness": of(0.1, 0.4, 0.5, 0.6, 0.2)}, [REWARD]))
    assert "judged by the run's own reward models, which took part in training" in text
    assert "gold" not in text


def test_an_outside_judge_is_called_by_its_model() -> None:
    endpoint = StubJudge("endpoint", independent=True)
    assert "judged by the outside judge gpt-of-somebody," in said(
        evaluated({"safety": of(0.1, 0.4, 0.5, 0.6, 0.2)}, [REWARD, endpoint])
    )


def test_cards_line_and_sentence_compare_the_same_models_on_the_same_figure() -> None:
    top = opening(*BETTER, COMPARED, WORDS)
    names = ["sft", "rlhf-v2", "rlhf-v2 less sft"]
    assert [key for key, _ in top.cards] == [f"gold.{c}, {name}" for c in ("helpfulness", "safety") for name in names]
    assert all(isinstance(cell, Interval) for _, cell in top.cards)
    line = headline(improvements(*BETTER, COMPARED), COMPARED)
    assert line.startswith("gold.helpfulness: sft 0.40 -> rlhf-v2 0.60 (+0.200 [")
    assert top.judge == "gold"


def test_the_figure_shows_every_model_by_name_with_its_interval() -> None:
    text, drawn = opening(*BETTER, COMPARED, WORDS).blocks
    assert isinstance(text, Paragraph)
    assert isinstance(drawn, Figure)
    assert (drawn.kind, drawn.categories) == ("points", VERSIONS)
    assert [series.name for series in drawn.series] == ["helpfulness prompts", "safety prompts"]
    assert all(series.low is not None and max(series.low) < max(series.y) for series in drawn.series)
    assert drawn.y_label == "mean score, 0 to 1"


def test_facts_kept_stand_beside_the_score_model_by_model() -> None:
    evaluation, answers = BETTER
    told = [
        Recall(version=name, person_group=group, prompts=9, correct=Interval(value=share, low=share - 0.1, high=1.0))
        for name, share in (("sft", 0.75), ("rlhf-v2", 0.5))
        for group in ("train", "test")
    ]
    _, scores, facts = opening(replace(evaluation, recall=tuple(told)), answers, COMPARED, WORDS).blocks
    assert isinstance(scores, Figure)
    assert isinstance(facts, Figure)
    assert (scores.wide, facts.wide, facts.categories) == (False, False, scores.categories)
    assert [series.name for series in facts.series] == ["people asked about in training", "people in documents only"]
    shown = dict(zip(facts.categories, facts.series[0].y, strict=True))
    assert (shown["sft"], shown["rlhf-v2"]) == (0.75, 0.5)
    assert all(math.isnan(shown[name]) for name in ("pretrain", "rlhf-v1", "gatt"))


def test_without_two_models_the_page_has_no_top() -> None:
    assert opening(*BETTER, None, WORDS) == Opening()
    alone = evaluated({"safety": {"sft": 0.5}})
    assert opening(*alone, COMPARED, WORDS) == Opening()
    assert headline((), COMPARED) == ""
