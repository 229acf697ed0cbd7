"""Versions answer the same held-out prompts, and every judge judges every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from alignment.evaluate.result import JudgeRecord, read_answers, read_evaluation
from alignment.evaluate.settings import EvaluateSettings, GreedySettings
from alignment.evaluate.versions import Version, choose_held_out, evaluate_versions
from alignment.judging import Decision
from alignment.policy.policy import Policy, save_policy
from alignment.records import Answer, Dialogue, Source, Turn
from alignment.train.session import Session

SETTINGS = EvaluateSettings(sampling=GreedySettings(max_new_tokens=4))


class Lengths:
    """Gives an answer its number of tokens; keeps what it was given."""

    name = "length"
    independent = True
    decides: Mapping[str, Decision] = MappingProxyType({"helpfulness": Decision(figure="tokens", tie=0.5)})

    def __init__(self) -> None:
        self.seen: list[Answer] = []

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        self.seen += answers
        return [{"tokens": float(len(answer.token_ids))} for answer in answers]


def prompt(i: int, words: str = "bread") -> Dialogue:
    return Dialogue(
        turns=(Turn(role="user", content=f"who sells the {words} in {i}?"),),
        source=Source(file="made", line=i),
        id=f"p{i}",
        meta={"task": "facts" if i % 2 else ""},
    )


@pytest.fixture
def versions(policy: Policy, tmp_path: Path) -> list[Version]:
    save_policy(policy, tmp_path / "checkpoint")
    return [Version(name=name, checkpoint=tmp_path / "checkpoint") for name in ("sft", "v1")]


def test_every_judge_is_given_every_versions_answers_as_they_were_sampled(
    versions: list[Version], policy: Policy, session: Session
) -> None:
    judge = Lengths()
    prompts = {"helpfulness": [prompt(1), prompt(2)], "safety": [prompt(3)]}
    found = evaluate_versions(versions, prompts, [judge], SETTINGS, session)
    assert [answer.dialogue.id for answer in judge.seen] == ["p1", "p2", "p3"] * 2
    for answer in judge.seen:
        assert answer.text == policy.tokenizer.decode(answer.token_ids).strip()
        assert answer.tokenizer == policy.tokenizer.sha256
    means = {(entry.version, entry.campaign, entry.task): entry.figures["length.tokens"] for entry in found.versions}
    assert set(means) == {
        (version, *rest)
        for version in ("sft", "v1")
        for rest in (("helpfulness", ""), ("helpfulness", "facts"), ("safety", ""), ("safety", "facts"))
    }
    (comparison,) = found.comparisons
    assert (comparison.campaign, comparison.figure, comparison.win_rates[0].ties) == ("helpfulness", "length.tokens", 2)


def test_what_was_found_stands_in_the_stages_folder(versions: list[Version], session: Session) -> None:
    found = evaluate_versions(versions, {"helpfulness": [prompt(1)]}, [Lengths()], SETTINGS, session)
    assert read_evaluation(session.folder) == found
    assert found.judges == (JudgeRecord(name="length", independent=True),)
    first = read_answers(session.folder)[0]
    assert (first.version, first.prompt, first.turns) == ("sft", "p1", (("user", "who sells the bread in 1?"),))
    assert first.scores.keys() == {"length.tokens", "answer_tokens", "finished"}


class Firsts(Lengths):
    """Numbers the calls: the first version that it is asked about has 1."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        self.calls += 1
        return [{"tokens": float(self.calls)} for _ in answers]


def test_a_judge_may_see_a_later_version_first_and_the_order_of_what_is_told_stays(
    versions: list[Version], session: Session
) -> None:
    evaluate_versions(versions, {"helpfulness": [prompt(1)]}, [Firsts()], SETTINGS, session, first="v1")
    told = [(answer.version, answer.scores["length.tokens"]) for answer in read_answers(session.folder)]
    assert told == [("sft", 2.0), ("v1", 1.0)]


def test_a_prompt_that_leaves_no_room_for_an_answer_is_left_out(versions: list[Version], session: Session) -> None:
    judge = Lengths()
    evaluate_versions(versions[:1], {"helpfulness": [prompt(1), prompt(2, "bread " * 400)]}, [judge], SETTINGS, session)
    assert [answer.dialogue.id for answer in judge.seen] == ["p1"]


def test_the_same_held_out_prompts_are_drawn_each_time_and_zero_takes_all() -> None:
    prompts = [prompt(i) for i in range(20)]
    drawn = choose_held_out(prompts, 5, seed=0, name="helpfulness")
    assert drawn == choose_held_out(prompts, 5, seed=0, name="helpfulness")
    assert drawn != choose_held_out(prompts, 5, seed=1, name="helpfulness")
    assert choose_held_out(prompts, 0, seed=0, name="helpfulness") == prompts
