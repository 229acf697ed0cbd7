"""Instructions kept, version by version: every model holds the same dialogues, and what was unlearnt is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.constraint import Constraint
from alignment.evaluate.settings import GreedySettings, InstructionsSettings
from alignment.policy.policy import Policy, save_policy
from alignment.records import Dialogue
from alignment.train.session import Session
from gatt.by_version import instructions_by_version
from gatt.evaluate import consistency_by_turn
from gatt.kept import FILE, instruction_figures, lost_instructions, read_instructions
from gatt.report import instructions_by_version as told
from gatt.result import Consistency, TurnShare
from gatt.settings import GattSettings

ASKED = InstructionsSettings.model_construct(dialogues=4, turns=2)
GREEDY = GreedySettings(max_new_tokens=8)
SHORT = Constraint(id="short", kind="max_words", argument=200, instruction="Say little.", short="Short")


def keeping(low: float, value: float, high: float) -> Consistency:
    return Consistency(turns=(TurnShare(turn=1, value=value, low=low, high=high, dialogues=64),), examples=())


@pytest.fixture
def checkpoint(policy: Policy, tmp_path: Path) -> Path:
    save_policy(policy, tmp_path / "model")
    return tmp_path / "model"


def test_every_model_holds_the_dialogues_that_ghost_attention_measures_with(
    policy: Policy, checkpoint: Path, dialogues: list[Dialogue], session: Session
) -> None:
    found = instructions_by_version({"sft": checkpoint, "v1": checkpoint}, dialogues, [SHORT], ASKED, GREEDY, session)
    settings = GattSettings(evaluation_dialogues=4, evaluation_turns=2, sampling={"max_new_tokens": 8})
    alone = consistency_by_turn(policy, dialogues, [SHORT], settings, session, name="alone")
    assert found == {"sft": alone, "v1": alone}
    assert read_instructions(session.folder / FILE) == found


def test_the_page_has_a_row_for_each_version_and_a_study_a_figure_for_each_turn(
    checkpoint: Path, dialogues: list[Dialogue], session: Session
) -> None:
    instructions_by_version({"sft": checkpoint, "v1": checkpoint}, dialogues, [SHORT], ASKED, GREEDY, session)
    (table,) = told(session.folder / FILE)
    assert [row[0] for row in table.rows] == ["sft", "v1"]
    assert table.columns == ("version", "turn 1", "turn 2")
    assert set(instruction_figures(session.folder / FILE)) == {
        f"{name}, instruction kept: turn {turn}" for name in ("sft", "v1") for turn in (1, 2)
    }


def test_an_evaluation_that_did_not_ask_for_it_tells_nothing(tmp_path: Path) -> None:
    assert told(tmp_path / FILE) == ()
    assert instruction_figures(tmp_path / FILE) == {}


def test_what_lies_outside_the_interval_is_said_to_be_unlearnt() -> None:
    found = {"sft": keeping(0.3, 0.4, 0.5), "v1": keeping(0.2, 0.28, 0.36), "v2": keeping(0.0, 0.05, 0.1)}
    assert lost_instructions(found, "sft", "v1") == ""
    said = lost_instructions(found, "sft", "v2")
    assert said.startswith("instructions are unlearnt: sft keeps 40% of them in its first answer, v2 5%; mix in")
    assert lost_instructions(found, "start", "v2") == ""
