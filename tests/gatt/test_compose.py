"""Dialogues of turns asked one by one: what each is asked with, what is kept and why not, and that it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

import gatt.compose
from alignment.constraint import Constraint
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source
from alignment.train.session import Session
from gatt.compose import DANGLING, IGNORES, UNFINISHED, compose_gatt
from gatt.plan import Plan, plan_dialogues
from gatt.settings import GattSettings

ENDS = Constraint(id="end", kind="ends_with", argument="flour", instruction="End with flour.", short="End: flour")
BRIEF = Constraint(id="brief", kind="max_words", argument=200, instruction="Say little.", short="Short")
# two dialogues of the data: one question, then one with a follow-up
PLAN = Plan(
    id="p",
    user_turns=("who sells the bread?", "who sells the flour?", "and the bread?"),
    constraint=ENDS,
    terse=False,
    source=Source(file="made", line=1),
    opens=(True, True, False),
    wording="End with flour.",
)
SETTINGS = GattSettings(compose="turns", attempts=3)
Answering = Callable[[Dialogue, int], str]


@pytest.fixture
def asked(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answering], list[Dialogue]]:
    """Puts a function in the sampler's place (a prompt and how often it was asked before -> the answer; "…": cut)."""

    def install(answering: Answering) -> list[Dialogue]:
        seen: list[Dialogue] = []
        times: Counter[str] = Counter()

        def draw(policy: Policy, prompts: list[tuple[Dialogue, tuple[int, ...]]], **_: object) -> list[list[Sample]]:
            made = []
            for prompt, _ids in prompts:
                seen.append(prompt)
                text = answering(prompt, times[prompt.id])
                times[prompt.id] += 1
                ids = (*policy.tokenizer.encode(text.rstrip("…")), 2)
                reason = "length" if text.endswith("…") else "stop"
                made.append([Sample(token_ids=ids, log_probs=(0.0,) * len(ids), finish_reason=reason)])
            return made

        monkeypatch.setattr(gatt.compose, "draw_samples", draw)
        return seen

    return install


def compose(policy: Policy, session: Session, settings: GattSettings = SETTINGS, context: int = 256, plan: Plan = PLAN):
    return compose_gatt(policy, [plan], settings, session, context_length=context, name="synthesis")


def texts(dialogue: Dialogue) -> list[str]:
    return [turn.content for turn in dialogue.turns]


def test_each_turn_is_asked_alone_and_a_follow_up_with_what_it_follows(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    seen = asked(lambda prompt, times: "the flour")
    (made,), figures = compose(policy, session)
    assert [texts(prompt) for prompt in seen] == [
        ["End with flour. who sells the bread?"],
        ["End with flour. who sells the flour?"],
        ["End with flour. who sells the flour?", "the flour", "End with flour. and the bread?"],
    ]
    assert all(prompt.system is None for prompt in seen)
    assert made.system == "End with flour."
    assert texts(made)[::2] == list(PLAN.user_turns)
    assert (figures.turns_kept, figures.answers_drawn, figures.complete, figures.follow_share) == (3, 3, 1, 1.0)


def test_without_history_a_follow_up_is_asked_alone_too(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    seen = asked(lambda prompt, times: "the flour")
    compose(policy, session, SETTINGS.model_copy(update={"history": 0}))
    assert [len(prompt.turns) for prompt in seen] == [1, 1, 1]


def test_an_answer_that_ignores_the_instruction_is_drawn_again_up_to_the_attempts(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    seen = asked(lambda prompt, times: "the flour" if times == 1 else "the bread")
    (made,), figures = compose(policy, session)
    assert len(seen) == figures.answers_drawn == 6
    assert set(texts(made)[1::2]) == {"the flour"}
    assert figures.follow_share == 0.0
    never = asked(lambda prompt, times: "the bread")
    assert compose(policy, session)[0] == []
    assert len(never) == 2 * SETTINGS.attempts  # the follow-up is not asked


def test_turns_that_are_left_out_are_counted_by_reason_with_those_that_follow_up_on_them(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    asked(lambda prompt, times: "the flour…" if "the bread?" in prompt.turns[-1].content else "the bread")
    made, figures = compose(policy, session)
    assert made == []
    assert figures.left_out == {IGNORES: 1, UNFINISHED: 1, DANGLING: 1}
    assert figures.as_json()[f"left_out: {DANGLING}"] == 1.0
    alone = SETTINGS.model_copy(update={"history": 0})
    asked(lambda prompt, times: "the bread" if "sells the flour" in prompt.turns[-1].content else "the flour")
    assert compose(policy, session, alone)[1].left_out == {IGNORES: 1, DANGLING: 1}


def test_a_dialogue_ends_with_the_last_turn_that_the_context_holds(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    asked(lambda prompt, times: "the flour")
    (whole,), _ = compose(policy, session)
    from alignment.text.chat import render_dialogue

    ends = render_dialogue(whole, policy.tokenizer).turn_ends
    (cut,), figures = compose(policy, session, context=ends[1])
    assert len(cut.turns) == 4
    assert (figures.cut_to_the_context, figures.complete) == (1, 0)
    assert compose(policy, session, context=ends[0])[0] == []  # one turn teaches nothing that lasts


def test_where_answers_need_not_be_satisfied_the_last_attempt_is_kept(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    asked(lambda prompt, times: f"the bread {times}")
    (made,), _ = compose(policy, session, SETTINGS.model_copy(update={"keep_only_satisfied": False}))
    assert all(text.endswith("2") for text in texts(made)[1::2])


def test_an_interrupted_synthesis_goes_on_from_its_journals(
    policy: Policy, dialogues: list[Dialogue], session: Session
) -> None:
    plans = plan_dialogues(dialogues, [BRIEF], count=3, turns=3, shorten_fraction=0.5, seed=0, name="train")
    settings = GattSettings(compose="turns", attempts=2, sampling={"max_new_tokens": 6}, keep_only_satisfied=False)
    first = compose_gatt(policy, plans, settings, session, context_length=256, name="s")
    journals = sorted((session.folder / "samples").iterdir())
    lines = [journal.read_bytes() for journal in journals]
    journals[-1].unlink()
    journals[0].write_bytes(b"".join(lines[0].splitlines(keepends=True)[:-1]))
    assert compose_gatt(policy, plans, settings, session, context_length=256, name="s") == first
    assert [len(journal.read_bytes().splitlines()) for journal in journals] == [len(was.splitlines()) for was in lines]


def test_a_plan_in_another_wording_is_asked_and_trained_in_it(
    policy: Policy, session: Session, asked: Callable[[Answering], list[Dialogue]]
) -> None:
    seen = asked(lambda prompt, times: "the flour")
    (made,), _ = compose(policy, session, plan=replace(PLAN, wording="Say flour last."))
    assert seen[0].turns[0].content.startswith("Say flour last. ")
    assert made.system == "Say flour last."
