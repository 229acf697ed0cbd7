"""Ghost Attention's data: where the instruction stands, and what is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gatt.synthesize
import gatt.train
from alignment.constraint import Constraint
from alignment.errors import DataError
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document, Source
from alignment.text.chat import render_dialogue
from alignment.train.replay import Replayed
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import ReplaySettings
from gatt.constraints import builtin_constraints, read_constraints
from gatt.evaluate import consistency_by_turn
from gatt.plan import plan_dialogues
from gatt.settings import GattSettings
from gatt.synthesize import synthesize_gatt

SETTINGS = GattSettings(num_dialogues=8, turns=3, evaluation_dialogues=4, evaluation_turns=3)
ENDS = Constraint(id="end", kind="ends_with", argument="flour", instruction="End with flour.", short="End: flour")
BRIEF = Constraint(id="brief", kind="max_words", argument=3, instruction="Say little.", short="Short")


@pytest.fixture
def asked(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[Dialogue]:
    """Every prompt that the model was asked; it answers "the flour" in odd calls and "the bread" in even ones."""
    seen: list[Dialogue] = []

    def answer(policy: Policy, prompts: list[tuple[Dialogue, tuple[int, ...]]], **_: object) -> list[list[Sample]]:
        made = []
        for prompt, _ids in prompts:
            seen.append(prompt)
            ids = policy.tokenizer.encode("the flour" if len(prompt.turns) != 3 else "the bread")
            made.append([Sample(token_ids=(*ids, 2), log_probs=(0.0,) * (len(ids) + 1), finish_reason="stop")])
        return made

    monkeypatch.setattr(gatt.synthesize, "draw_samples", answer)
    return seen


def test_demonstrations_that_are_mixed_in_are_trained_on_every_answer(
    policy: Policy,
    asked: list[Dialogue],
    dialogues: list[Dialogue],
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[Dialogue, str]] = []

    def watch(_: Policy, trained: list[Dialogue], *rest: object, **options: Any) -> TrainingResult:
        found.extend((dialogue, options["train_on"](dialogue)) for dialogue in trained)
        return TrainingResult(steps=1, tokens=1, seconds=0.0)

    monkeypatch.setattr(gatt.train, "fine_tune", watch)
    settings = SETTINGS.model_copy(update={"sft_share": 0.5, "keep_only_satisfied": False})
    gatt.train.train_gatt(policy, dialogues, dialogues, [ENDS], [], settings, session, sft_dialogues=dialogues)
    rules = {rule for dialogue, rule in found if dialogue in dialogues}
    assert rules == {"all"}
    assert {rule for dialogue, rule in found if dialogue not in dialogues} == {"last"}


def test_documents_are_replayed_by_the_synthesised_dialogues_alone(
    policy: Policy,
    asked: list[Dialogue],
    dialogues: list[Dialogue],
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Replayed] = []

    def watch(*rest: object, **options: Any) -> TrainingResult:
        found.append(options["replayed"])
        return TrainingResult(steps=1, tokens=1, seconds=0.0)

    monkeypatch.setattr(gatt.train, "fine_tune", watch)
    documents = [Document(text=f"in {1900 + i} the mill", source=Source(file="town", line=i + 1)) for i in range(30)]
    replay = ReplaySettings(share=0.5)
    settings = SETTINGS.model_copy(update={"sft_share": 1.0, "keep_only_satisfied": False, "replay": replay})
    gatt.train.train_gatt(
        policy, dialogues, dialogues, [ENDS], [], settings, session, sft_dialogues=dialogues, documents=documents
    )
    assert found[0].documents == SETTINGS.num_dialogues // 2


def test_while_sampling_the_instruction_stands_before_every_user_message(
    policy: Policy, asked: list[Dialogue], dialogues: list[Dialogue], session: Session
) -> None:
    synthesize_gatt(policy, dialogues, [ENDS], SETTINGS, session)
    assert len(asked) == 8 * 3
    for prompt in asked:
        assert prompt.system is None
        assert all(t.content.startswith("End with flour. ") for t in prompt.turns if t.role == "user")


def test_in_training_it_stands_at_the_start_only_and_half_are_terse(
    policy: Policy, asked: list[Dialogue], dialogues: list[Dialogue], session: Session
) -> None:
    made, figures = synthesize_gatt(
        policy, dialogues, [ENDS], SETTINGS.model_copy(update={"num_dialogues": 40}), session
    )
    assert figures.kept == len(made) == 40
    assert {d.system for d in made} == {"End with flour.", "End: flour"}
    assert 10 <= sum(d.system == "End: flour" for d in made) <= 30
    assert not any("flour." in turn.content for d in made for turn in d.turns if turn.role == "user")


def test_only_the_last_answer_is_trained(
    policy: Policy, asked: list[Dialogue], dialogues: list[Dialogue], session: Session
) -> None:
    made, _ = synthesize_gatt(policy, dialogues, [ENDS], SETTINGS, session)
    rendered = render_dialogue(made[0], policy.tokenizer, train="last")
    before = rendered.turn_ends[-2]
    assert not any(rendered.trained[:before])
    trained = [i for i, learn in zip(rendered.token_ids, rendered.trained, strict=True) if learn]
    assert policy.tokenizer.decode(trained).strip() == "the flour"


def test_dialogues_whose_last_answer_ignores_the_instruction_are_left_out(
    policy: Policy, asked: list[Dialogue], dialogues: list[Dialogue], session: Session
) -> None:
    never = Constraint(id="x", kind="contains", argument="moo", instruction="Say moo.", short="Moo")
    made, figures = synthesize_gatt(policy, dialogues, [ENDS, never], SETTINGS, session)
    assert {d.meta["gatt-constraint"] for d in made} == {"end"}
    assert figures.follow_share == 0.5


def test_plans_are_the_same_each_time_and_even_over_the_constraints(dialogues: list[Dialogue]) -> None:
    arguments = {"count": 10, "turns": 4, "shorten_fraction": 0.5, "seed": 0, "name": "train"}
    plans = plan_dialogues(dialogues, [ENDS, BRIEF], **arguments)  # type: ignore[arg-type]
    assert plans == plan_dialogues(dialogues, [ENDS, BRIEF], **arguments)  # type: ignore[arg-type]
    assert [plan.constraint.id for plan in plans].count("end") == 5
    assert all(len(plan.user_turns) == 4 for plan in plans)


def test_consistency_counts_the_answers_that_follow_turn_by_turn(
    policy: Policy, asked: list[Dialogue], dialogues: list[Dialogue], session: Session
) -> None:
    result = consistency_by_turn(policy, dialogues, [ENDS], SETTINGS, session, name="before")
    assert [row.value for row in result.turns] == [1.0, 0.0, 1.0]  # the second answer is "the bread"
    assert all(prompt.system == "End with flour." for prompt in asked)
    assert not any(turn.content.startswith("End with") for prompt in asked for turn in prompt.turns)


def test_nothing_to_start_from_is_an_error(dialogues: list[Dialogue]) -> None:
    with pytest.raises(DataError, match=r"constraints \(0 given\)"):
        plan_dialogues(dialogues, [], count=1, turns=2, shorten_fraction=0.5, seed=0, name="x")


def test_builtin_constraints_test_with_unseen_ones() -> None:
    seen, unseen = builtin_constraints()
    assert len(seen) >= 10
    assert not {c.id for c in seen} & {c.id for c in unseen}


def test_a_file_of_constraints_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train:\n- {id: a, kind: contains, argument: moo, instruction: Say moo., short: Moo}\n")
    assert [c.id for c in read_constraints(path)[0]] == ["a"]
    path.write_text("train:\n- {id: a, kind: sings, argument: moo, instruction: Say moo., short: Moo}\n")
    with pytest.raises(DataError, match=r"train entry 1.*kind is 'sings'"):
        read_constraints(path)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_constraints(tmp_path / "none.yaml")
