"""Accuracy by kind of task: who was asked about, what is right, which kinds are not learnt, and whose model answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import UsageError
from alignment.evaluate.accuracy import Marked, accuracy_table, main, mark, not_learnt, policy_of, world_of
from alignment.records import Answer, Dialogue
from alignment.world import World, WorldSettings


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(size="seconds", biographies_per_person=1))


def said(dialogue: Dialogue, text: str) -> Answer:
    return Answer(dialogue=dialogue, prompt_ids=(), token_ids=(), text=text, tokenizer="its digest")


def marked(task: str, group: str, right: bool, complete: float = 1.0) -> Marked:
    return Marked(task=task, group=group, right=right, complete=complete)


def test_an_answer_is_right_by_its_claims_whatever_its_form(world: World) -> None:
    prompt = next(p for p in world.prompts("helpfulness", "validation") if p.meta["task"] == "person_fact")
    (name, _, value), *_ = prompt.meta["truth"]["facts"]
    texts = (value, f"{name}, {value}. Leave me alone now.", "I do not know.", "")
    assert [each.right for each in mark([said(prompt, t) for t in texts], world.judge())] == [True, True, False, False]


def test_half_of_what_was_asked_is_right_and_not_complete(world: World) -> None:
    prompt = next(p for p in world.prompts("helpfulness", "validation") if p.meta["task"] == "two_facts")
    name, _, value = prompt.meta["truth"]["facts"][0]
    (found,) = mark([said(prompt, f"{name}, {value}.")], world.judge())
    assert (found.right, found.complete) == (True, 0.5)


def test_people_of_no_training_question_are_a_column_of_their_own(world: World) -> None:
    prompts = list(world.prompts("helpfulness", "validation"))
    found = mark([said(p, "") for p in prompts], world.judge())
    groups = {(prompt.meta.get("person_group"), each.group) for prompt, each in zip(prompts, found, strict=True)}
    assert groups == {("train", "asked"), ("validation", "unseen"), (None, "")}


def test_a_row_holds_the_share_of_each_group_and_the_first_row_all_kinds_about_people() -> None:
    rows = accuracy_table(
        [marked("a", "asked", True), marked("a", "unseen", False), marked("b", "asked", True), marked("talk", "", True)]
    ).splitlines()
    assert rows[2].startswith("| every kind about people | 1.00 [1.00, 1.00] (2) | 0.00 [0.00, 0.00] (1) | – |")
    assert [row.split(" | ")[0] for row in rows[3:]] == ["| a", "| b", "| talk"]


def test_kinds_below_three_tenths_are_named() -> None:
    rows = [marked("good", "", True), *(marked("bad", "", i == 0) for i in range(4))]
    assert list(not_learnt(rows)) == ["bad: 1 of 4 right"]


def test_a_folder_that_is_no_run_a_run_without_a_world_and_a_stage_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no run: it holds no recipe.yaml"):
        world_of(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\nworld: null\n")
    with pytest.raises(UsageError, match=r"recipe.yaml has no world"):
        world_of(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\nworld:\n  size: seconds\n  num_people: 3\n")
    with pytest.raises(UsageError, match=r"recipe.yaml:4: world.num_people: .*greater than or equal to 8"):
        world_of(tmp_path)
    (tmp_path / "03-sft" / "checkpoint").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no model of a stage rlhf-v1; there are sft"):
        policy_of(tmp_path, "rlhf-v1")


def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
