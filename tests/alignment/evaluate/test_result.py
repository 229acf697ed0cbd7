"""What an evaluation found, as files: read back as it was, old ones too; damage is named."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from alignment.errors import DataError
from alignment.evaluate.result import (
    Comparison,
    Evaluation,
    HeadToHead,
    Recall,
    ScoredAnswer,
    VersionScores,
    read_answers,
    read_evaluation,
    write_evaluation,
)
from alignment.report.table import Interval

MEAN = Interval(value=0.5, low=0.25, high=0.75)
ANSWER = ScoredAnswer(
    version="sft",
    campaign="helpfulness",
    prompt="p",
    turns=(("user", "Hi"),),
    system="Be kind.",
    answer="Hello!",
    scores={"gold.helpfulness": 0.5},
)


def scores(version: str, value: float, **more: str) -> VersionScores:
    figures = {"gold.helpfulness": Interval(value=value, low=0.0, high=1.0)}
    where = {"campaign": "helpfulness", "task": "", **more}
    return VersionScores(version=version, prompts=3, figures=figures, **where)


def whole() -> Evaluation:
    rate = HeadToHead(later="v1", earlier="sft", wins=0, ties=3, losses=0, rate=0.5, low=0.5, high=0.5, decided=None)
    comparison = Comparison(
        campaign="safety",
        judge="gold",
        figure="gold.safety",
        prompts=3,
        ranking=(("sft", 1000.0), ("v1", 1000.0)),
        win_rates=(rate,),
    )
    return Evaluation(
        versions=(scores("sft", 0.25), scores("sft", 0.9, task="sum"), scores("v1", 0.75)),
        recall=(Recall(version="sft", person_group="train", prompts=2, correct=MEAN),),
        comparisons=(comparison,),
    )


def test_an_evaluation_and_its_answers_are_read_back_as_they_were(tmp_path: Path) -> None:
    write_evaluation(tmp_path, whole(), [ANSWER, ANSWER])
    assert read_evaluation(tmp_path) == whole()
    assert read_answers(tmp_path) == [ANSWER, ANSWER]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\r", "\r\n", "\n"])
def test_a_line_ends_only_where_it_was_written_to_end(sign: str, tmp_path: Path) -> None:
    said = [replace(ANSWER, turns=(("user", f"Hi{sign}there"),)), replace(ANSWER, answer=f"{sign}Hello!{sign}")]
    write_evaluation(tmp_path, whole(), said)
    assert read_answers(tmp_path) == said


def test_an_evaluation_without_answers_is_read_as_none(tmp_path: Path) -> None:
    write_evaluation(tmp_path, Evaluation(versions=()), [])
    assert read_answers(tmp_path) == []


def test_a_lone_surrogate_in_an_answer_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text(json.dumps(asdict(replace(ANSWER, answer="\ud800"))) + "\n")
    assert read_answers(tmp_path)[0].answer == "\ud800"


def test_an_evaluation_without_comparisons_is_read_as_one_with_none(tmp_path: Path) -> None:
    write_evaluation(tmp_path, whole(), [])
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"versions": json.loads(path.read_text())["versions"]}))
    assert read_evaluation(tmp_path) == Evaluation(versions=whole().versions)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"versions": [{"version": "sft"}]}'])
def test_a_damaged_evaluation_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(DataError, match=r"evaluation\.json is no evaluation"):
        read_evaluation(tmp_path)


def test_a_damaged_answer_is_named_by_its_line(tmp_path: Path) -> None:
    write_evaluation(tmp_path, whole(), [ANSWER])
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"version": "sft"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl:2 is no scored answer"):
        read_answers(tmp_path)


@pytest.mark.parametrize("read", [read_evaluation, read_answers])
def test_a_missing_file_is_named(read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(DataError, match=r"cannot be read .*No such file"):
        read(tmp_path)
