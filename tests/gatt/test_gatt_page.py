"""Ghost Attention's chapter of the page: consistency by turn, and a dialogue with its answers beside the questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignment.report.blocks import Section, TurnByTurn
from gatt.report import section


def held(*answers: str, kept: bool) -> dict[str, Any]:
    turns = [{"turn": i, "value": 0.5, "low": 0.2, "high": 0.8, "dialogues": 4} for i in range(1, len(answers) + 1)]
    exchanges = [[f"question {i}", answer] for i, answer in enumerate(answers, start=1)]
    example = {"instruction": "Be a pirate.", "exchanges": exchanges, "kept": [kept] * len(answers)}
    return {"turns": turns, "examples": [example] if answers else []}


def chapter(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> Section:
    found = {"before": {"seen": before}, "after": {"seen": after}, "synthesis": {"kept": 3}}
    (folder / "gatt.json").write_text(json.dumps(found))
    return section(folder, stage="gatt", result={})


def test_each_question_stands_with_the_answers_to_it(tmp_path: Path) -> None:
    found = chapter(tmp_path, held("No.", "No!", kept=False), held("Arr.", "Arr!", kept=True))
    (dialogue,) = (block for block in found.blocks if isinstance(block, TurnByTurn))
    assert dialogue.instruction == "Be a pirate."
    assert dialogue.turns == (
        ("question 1", (("before", "No.", "does not follow it"), ("after", "Arr.", "follows the instruction"))),
        ("question 2", (("before", "No!", "does not follow it"), ("after", "Arr!", "follows the instruction"))),
    )


def test_a_dialogue_that_one_model_ended_earlier_shows_the_others_turns(tmp_path: Path) -> None:
    found = chapter(tmp_path, held("No.", kept=False), held("Arr.", "Arr!", kept=True))
    (dialogue,) = (block for block in found.blocks if isinstance(block, TurnByTurn))
    assert [[name for name, *_ in answers] for _, answers in dialogue.turns] == [["before", "after"], ["after"]]
    assert found.summary.startswith("instruction kept at turn 1: ")  # the last that both came to


def test_where_no_dialogue_was_held_none_is_shown(tmp_path: Path) -> None:
    found = chapter(tmp_path, held(kept=False), held(kept=False))
    assert not [block for block in found.blocks if isinstance(block, TurnByTurn)]
