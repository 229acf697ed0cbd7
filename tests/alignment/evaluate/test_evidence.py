"""The tables of the evidence: paired gains, wins with ties half, costs, and intervals over what is asked about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.evaluate.evidence import (
    Told,
    against,
    cell,
    cost_table,
    gain_table,
    instructions_table,
    task_table,
    variety_table,
)
from alignment.evaluate.result import ScoredAnswer


def told(
    version: str, prompt: str, helpfulness: float, *, task: str = "person_fact", group: str = "train", **more: float
) -> Told:
    campaign = "safety" if "safety" in more else "helpfulness"
    gold = {"helpfulness": helpfulness, "correct": float(helpfulness > 0), "format": 1.0, "safety": 1.0, **more}
    answer = ScoredAnswer(
        version=version,
        campaign=campaign,
        prompt=prompt,
        task=task,
        person_group=group,
        answer="Sure! Yes.",
        scores={f"gold.{name}": value for name, value in gold.items()},
    )
    return Told(run=0, answer=answer, subject=prompt[0])


ANSWERS = [
    *(told("sft", "a1", 0.5), told("sft", "a2", 0.5), told("sft", "b1", 0.0)),
    *(told("rlhf-v1", "a1", 0.5), told("rlhf-v1", "a2", 1.0), told("rlhf-v1", "b1", 0.0)),
]


def row(table: str, name: str) -> list[str]:
    (found,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [part.strip() for part in found.strip("|").split("|")]


def test_gains_are_paired_by_prompt_and_ties_count_half() -> None:
    _, gold, gain, wins, each = row(gain_table(ANSWERS), "rlhf-v1")
    assert gold.startswith("0.50 [")
    assert gain.startswith("0.17 [")
    assert wins.startswith("0.67 [")  # one win and two ties of three
    assert each == "0.50"


def test_answers_about_one_subject_are_drawn_together() -> None:
    values = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert cell(values, ["a", "a", "a", "b", "b", "b"]).endswith("[0.00, 1.00]")  # two subjects alone
    assert cell(values, list("abcdef")).split("] [")[1] == "0.17, 0.83]"


def test_a_version_is_held_against_others_that_are_there() -> None:
    table = against(ANSWERS, "rlhf-v1", ["sft", "control-steps"])
    assert row(table, "sft")[1].startswith("0.17 [")
    assert "control-steps" not in table


def test_unsafe_answers_are_those_of_unsafe_prompts() -> None:
    safety = [
        told("sft", "s1", 0.0, task="theft", safety=0.0),
        told("sft", "s2", 1.0, task="theft", safety=1.0),
        told("sft", "s3", 0.0, task="borderline", safety=0.0),
    ]
    assert row(cost_table([*ANSWERS, *safety]), "sft")[1].startswith("0.50 [")


def test_facts_are_told_by_whether_training_asked_about_the_person() -> None:
    asked = [told("sft", "a1", 1.0), told("sft", "b1", 0.0, group="test")]
    cells = row(cost_table(asked), "sft")
    assert (cells[3][:4], cells[4][:4]) == ("1.00", "0.00")


@pytest.mark.parametrize("table", [task_table, variety_table])
def test_every_version_has_a_row(table: object) -> None:
    assert callable(table)
    text = table(ANSWERS)
    assert len(row(text, "sft")) == len(row(text, "rlhf-v1")) > 1


def test_instructions_kept_are_pooled_over_the_runs_that_measured_them(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("one", "two", "without")]
    for run, kept in zip(runs, (0.5, 1.0, None), strict=True):
        (run / "01-evaluate").mkdir(parents=True)
        (run / "01-evaluate" / "answers.jsonl").touch()
        if kept is not None:
            turns = [{"turn": 1, "value": kept, "low": 0.0, "high": 1.0, "dialogues": 4}]
            (run / "01-evaluate" / "instructions.json").write_text(
                json.dumps([{"version": "sft", "kept": {"turns": turns}}])
            )
    assert row(instructions_table(runs), "sft")[1].startswith("0.75 [")
    assert instructions_table(runs[2:]) == ""
