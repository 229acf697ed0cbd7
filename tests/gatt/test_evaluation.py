"""What is measured beside consistency by turn: by kind, what would be found unasked, and a change midway."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import gatt.synthesize
import gatt.train
from alignment.constraint import Constraint
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from gatt.evaluate import Held, changed_midway, consistency_by_kind
from gatt.kept import kept_figures
from gatt.plan import plan_dialogues
from gatt.report import section
from gatt.settings import GattSettings

ENDS = Constraint(id="end", kind="ends_with", argument="flour", instruction="End with flour.", short="End: flour")
BREAD = Constraint(id="bread", kind="ends_with", argument="bread", instruction="End with bread.", short="End: bread")
BRIEF = Constraint(id="brief", kind="max_words", argument=2, instruction="Two words.", short="2")
QUOTED = Constraint(id="quoted", kind="quoted", argument="", instruction="Quote.", short="quote")
SETTINGS = GattSettings(evaluation_dialogues=4, evaluation_turns=4)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Dialogue], str]], list[Dialogue]]:
    """Puts a function of the prompt in the sampler's place; returns what was asked."""

    def install(answer: Callable[[Dialogue], str]) -> list[Dialogue]:
        seen: list[Dialogue] = []

        def draw(policy: Policy, prompts: list[tuple[Dialogue, tuple[int, ...]]], **_: object) -> list[list[Sample]]:
            made = []
            for prompt, _ids in prompts:
                seen.append(prompt)
                ids = (*policy.tokenizer.encode(answer(prompt)), 2)
                made.append([Sample(token_ids=ids, log_probs=(0.0,) * len(ids), finish_reason="stop")])
            return made

        monkeypatch.setattr(gatt.synthesize, "draw_samples", draw)
        monkeypatch.setattr("gatt.compose.draw_samples", draw)
        return seen

    return install


def held(dialogues: list[Dialogue], constraints: list[Constraint], *answers: str) -> Held:
    plans = plan_dialogues(
        dialogues, constraints, count=len(answers), turns=2, shorten_fraction=0.0, seed=0, name="evaluation"
    )
    return Held(plans=tuple(plans), answers=tuple((answer, answer) for answer in answers))


def test_each_kind_is_told_by_group_with_what_its_check_finds_unasked(dialogues: list[Dialogue]) -> None:
    groups = {
        "seen": held(dialogues, [ENDS, BRIEF], "the flour", "the flour", "the bread", "a long, long bread"),
        "unseen values": held(dialogues, [BREAD], "the bread"),
    }
    found = {(one.group, one.kind): one for one in consistency_by_kind(groups)}
    assert list(found) == [("seen", "ends_with"), ("seen", "max_words"), ("unseen values", "ends_with")]
    assert [share.value for share in found["seen", "ends_with"].turns] == [0.5, 0.5]
    assert found["seen", "ends_with"].unasked == 0.5  # of "the flour" and "a long, long bread", for max_words
    assert found["seen", "max_words"].unasked == 1.0
    assert found["unseen values", "ends_with"].unasked == 0.5


def test_a_kind_that_stands_alone_has_nothing_to_be_held_against(dialogues: list[Dialogue]) -> None:
    (one,) = consistency_by_kind({"seen": held(dialogues, [ENDS], "the flour")})
    assert one.unasked is None


def test_midway_another_instruction_stands_as_system_message_and_the_answers_stay(
    policy: Policy,
    dialogues: list[Dialogue],
    session: Session,
    answering: Callable[[Callable[[Dialogue], str]], list[Dialogue]],
) -> None:
    seen = answering(lambda prompt: "the flour" if prompt.system == "End with flour." else "the bread")
    found = changed_midway(policy, dialogues, [ENDS, BREAD], SETTINGS, session, name="changed")
    assert found.from_turn == 3
    assert [share.value for share in found.standing] == [1.0] * 4
    assert [share.value for share in found.first] == [1.0, 1.0, 0.0, 0.0]
    first = [prompt for prompt in seen if prompt.id == seen[0].id]
    assert [prompt.system for prompt in first] == ["End with flour."] * 2 + ["End with bread."] * 2
    assert first[3].turns[1].content == "the flour"


def test_all_that_is_asked_for_stands_in_the_result_and_on_the_page(
    policy: Policy,
    dialogues: list[Dialogue],
    session: Session,
    answering: Callable[[Callable[[Dialogue], str]], list[Dialogue]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules: set[str] = set()

    def watch(_: Policy, trained: list[Dialogue], *rest: object, **options: Any) -> TrainingResult:
        rules.update(options["train_on"](dialogue) for dialogue in trained)
        return TrainingResult(steps=1, tokens=1, seconds=0.0)

    monkeypatch.setattr(gatt.train, "fine_tune", watch)
    answering(lambda prompt: "the flour")
    settings = SETTINGS.model_copy(
        update={
            **{"num_dialogues": 6, "turns": 3, "compose": "turns", "loss_on": "all", "combine": 0.5, "history": 0},
            **{"evaluation_groups": True, "evaluation_change": True, "attention_dialogues": 2},
        }
    )
    result = gatt.train.train_gatt(policy, dialogues, dialogues, [ENDS, BRIEF], [BREAD, QUOTED], settings, session)
    assert rules == {"all"}
    found = json.loads((session.folder / "gatt.json").read_bytes())
    assert set(found["before"]) == {"seen", "seen combinations", "unseen values", "unseen kinds"}
    assert set(found["more"]["after"]) == {"by_kind", "changed", "attention"}
    assert found["more"]["after"]["attention"]["dialogues"] == 2
    assert result.as_json()["synthesis"]["turns_kept"] == 18
    page = section(session.folder, stage="gatt", result={})
    titles = [block.title for block in (*page.blocks, *page.details) if hasattr(block, "title")]
    read = titles.index("Attention on the instruction, by turn")
    assert [block.name for block in page.blocks[read].series] == ["before", "after"]
    assert "Answers that follow the instruction, by kind" in titles
    assert "The instruction exchanged for another at turn 3" in titles
    figures = kept_figures(session.folder / "gatt.json")
    assert figures["unseen kinds instructions kept after: turn 4"] == 0.0
    assert figures["synthesis: turns kept"] == 18


def test_how_many_dialogues_reach_the_turns_within_the_context_is_said_before_training(
    policy: Policy,
    dialogues: list[Dialogue],
    session: Session,
    answering: Callable[[Callable[[Dialogue], str]], list[Dialogue]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(session.progress, "note", said.append)

    def watch(*rest: object, **options: Any) -> TrainingResult:
        assert said
        return TrainingResult(steps=1, tokens=1, seconds=0.0)

    monkeypatch.setattr(gatt.train, "fine_tune", watch)
    answering(lambda prompt: "the flour")
    for compose, told in (("whole", "0 of the 4 dialogues"), ("turns", "0 of the 4 dialogues")):
        settings = SETTINGS.model_copy(
            update={"num_dialogues": 4, "turns": 6, "compose": compose, "context_length": 120, "evaluation_turns": 2}
        )
        gatt.train.train_gatt(policy, dialogues, dialogues, [ENDS], [], settings, session)
        assert said[-1].startswith(f"{told} to train on come to all 6 turns within the context of 120 tokens; ")
    assert said[0].endswith("; 4 are longer and left out")
    assert said[1].endswith("; 0 are longer and left out")


def test_loss_on_all_answers_needs_answers_that_are_checked() -> None:
    assert GattSettings(compose="turns", loss_on="all").loss_on == "all"
    for unchecked in ({"compose": "whole"}, {"compose": "turns", "keep_only_satisfied": False}):
        with pytest.raises(ValueError, match="loss_on is 'all', and only compose: turns with keep_only_satisfied"):
            GattSettings(loss_on="all", **unchecked)


def test_what_is_new_is_no_part_of_an_older_runs_fingerprint() -> None:
    new = {"compose", "history", "attempts", "loss_on", "combine", "attention_dialogues"}
    new |= {"evaluation_groups", "evaluation_change"}
    assert new <= GattSettings.model_fields.keys()
    assert new.isdisjoint(GattSettings().fingerprint_values())
