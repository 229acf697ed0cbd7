"""Versions whose reward rises while an independent judge's figure falls, from an evaluation's saved answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from alignment.evaluate.comparisons import compare_versions
from alignment.evaluate.judge_words import JudgeWords
from alignment.evaluate.result import Evaluation, JudgeRecord, ScoredAnswer, write_evaluation
from alignment.judging import Decision
from alignment.report.blocks import Paragraph
from alignment.report.table import Table
from rl.hacked_versions import hacked, version_changes
from rl.report import reward_against_judge

WORDS = JudgeWords.of_a_run(None)


class Named:
    """A judge by name alone."""

    def __init__(self, name: str, figure: str, *, independent: bool) -> None:
        self.name, self.independent = name, independent
        self.decides = {"helpfulness": Decision(figure=figure, tie=0.01)}

    def judge(self, answers: object) -> list[dict[str, float]]:
        raise AssertionError("nothing is judged here")


GOLD, REWARD = Named("gold", "helpfulness", independent=True), Named("reward", "combined", independent=False)


def evaluated(
    means: Mapping[str, tuple[float, float]], judges: tuple[Named, ...] = (GOLD, REWARD), controls: tuple[str, ...] = ()
) -> tuple[Evaluation, list[ScoredAnswer]]:
    """Versions with these means of reward and gold; prompts differ far more than versions do."""
    figures = {"reward.combined": 0, "gold.helpfulness": 1}
    answers = [
        ScoredAnswer(
            version=version,
            campaign="helpfulness",
            prompt=f"p{i}",
            scores={
                name: both[place] + i + (i * (k + 1) % 5 - 2) / 100
                for name, place in figures.items()
                if name.partition(".")[0] in {judge.name for judge in judges}
            },
        )
        for k, (version, both) in enumerate(means.items())
        for i in range(40)
    ]
    return Evaluation(
        versions=(),
        comparisons=compare_versions(answers, list(means), judges, seed=0),
        judges=tuple(JudgeRecord(name=judge.name, independent=judge.independent) for judge in judges),
        controls=controls,
    ), answers


HACKED = {"sft": (0.0, 0.5), "rlhf-v1": (0.5, 0.6), "rlhf-v2": (1.0, 0.4)}


def test_each_version_is_held_against_the_one_before_it_prompt_by_prompt() -> None:
    found = version_changes(*evaluated(HACKED))
    assert [(one.before, one.version, one.prompts, one.parts) for one in found] == [
        ("sft", "rlhf-v1", 40, False),
        ("rlhf-v1", "rlhf-v2", 40, True),
    ]
    assert [(one.reward.value, one.outside.value) for one in found] == [
        (pytest.approx(0.5), pytest.approx(0.1)),
        (pytest.approx(0.5), pytest.approx(-0.2)),
    ]
    assert all(one.outside.high - one.outside.low < 0.05 for one in found)


def test_where_reward_rises_and_gold_falls_a_sentence_says_so(tmp_path: Path) -> None:
    write_evaluation(tmp_path, *evaluated(HACKED))
    (told,) = hacked(tmp_path)["parted"]
    assert told.startswith(
        "from rlhf-v1 to rlhf-v2 the combined reward of helpfulness prompts rose by 0.50 while the gold judge's figure "
        "fell by 0.200 (40 prompts"
    )


@pytest.mark.parametrize(
    "after",
    [(1.0, 0.7), (0.2, 0.4), (0.2, 0.7), (1.0, 0.599), (0.501, 0.4)],
    ids=["both rise", "both fall", "gold alone rises", "gold within its interval", "reward within its interval"],
)
def test_nothing_is_said_of_any_other_change(after: tuple[float, float], tmp_path: Path) -> None:
    write_evaluation(tmp_path, *evaluated(HACKED | {"rlhf-v2": after}))
    assert hacked(tmp_path) == {}


def test_controls_stand_beside_the_versions() -> None:
    found = version_changes(*evaluated(HACKED, controls=("rlhf-v1",)))
    assert [(one.before, one.version) for one in found] == [("sft", "rlhf-v2")]


@pytest.mark.parametrize("judges", [(GOLD,), (REWARD,)], ids=["no reward", "no independent judge"])
def test_without_either_judge_there_is_nothing_to_compare(judges: tuple[Named, ...]) -> None:
    assert version_changes(*evaluated(HACKED, judges)) == ()


def test_the_page_has_a_row_a_version_and_the_sentence(tmp_path: Path) -> None:
    write_evaluation(tmp_path, *evaluated(HACKED))
    table, told = reward_against_judge(tmp_path, WORDS)
    assert isinstance(table, Table)
    assert [(row[0], row[1], row[-1]) for row in table.rows] == [
        ("rlhf-v1", "sft", "no"),
        ("rlhf-v2", "rlhf-v1", "yes"),
    ]
    assert table.columns[-2] == "the gold judge of the embedded world"
    assert isinstance(told, Paragraph)
    assert told.text.startswith("From rlhf-v1 to rlhf-v2 the combined reward")


def test_the_page_says_nothing_without_both_judges(tmp_path: Path) -> None:
    write_evaluation(tmp_path, *evaluated(HACKED, (REWARD,)))
    assert reward_against_judge(tmp_path, WORDS) == ()
