"""An endpoint in the watch model's place: it compares with the start's answers, and no verdict is made up."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from alignment.errors import CheckpointError, DataError
from alignment.evaluate.verdicts import pair_prompt
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.journal import read_journal
from alignment.train.session import Session
from rl.judges import RewardJudges
from rl.outside_watch import EndpointWatch
from rl.ppo import train_ppo
from rl.report import ppo_section
from rl.watch import WatchJudge
from tests.alignment.evaluate.conftest import Endpoint
from tests.alignment.evaluate.conftest import endpoint as endpoint
from tests.alignment.evaluate.conftest import paused as paused
from tests.rl.test_judges import answers
from tests.rl.test_ppo import SETTINGS as PPO
from tests.rl.test_ppo import both

BETTER, WORSE, TIE = ["[[A]]", "[[B]]"], ["[[B]]", "[[A]]"], ["[[tie]]", "[[A]]"]  # by both orders


@pytest.fixture
def watch(endpoint: Endpoint, session: Session) -> EndpointWatch:
    return EndpointWatch(endpoint.settings(), session)


@pytest.fixture
def watched(judges: RewardJudges, watch: EndpointWatch) -> RewardJudges:
    return dataclasses.replace(judges, watch=watch)


def test_the_first_answer_to_a_prompt_is_what_later_ones_are_compared_with_in_both_orders(
    watched: RewardJudges, endpoint: Endpoint, policy: Policy, prompts: list[Dialogue]
) -> None:
    assert watched.watched(answers(policy, prompts[:2], "the mill")) == [0.5, 0.5]
    endpoint.replies = [*BETTER, *WORSE, *TIE]
    assert watched.watched(answers(policy, prompts[:1], "bread", "flour", "a boat")) == [1.0, 0.0, 0.5]
    assert endpoint.texts[:2] == [
        pair_prompt(prompts[0], "bread", "the mill"),
        pair_prompt(prompts[0], "the mill", "bread"),
    ]


def test_an_answer_that_says_the_same_ties_and_costs_no_request(
    watch: EndpointWatch, endpoint: Endpoint, policy: Policy, prompts: list[Dialogue]
) -> None:
    assert watch.compare(answers(policy, prompts[:1], "bread", "bread")) == [0.5, 0.5]
    assert endpoint.asked == []


def test_no_verdict_is_paid_for_twice_when_the_stage_goes_on(
    watch: EndpointWatch, endpoint: Endpoint, session: Session, policy: Policy, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [*BETTER]
    pool = answers(policy, prompts[:1], "the mill", "bread")
    first = watch.compare(pool)
    assert EndpointWatch(endpoint.settings(), session).compare(pool) == first == [0.5, 1.0]
    assert EndpointWatch(endpoint.settings(), session).compare(pool[1:]) == [1.0]  # the start's answer is kept as well
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize("bad", [[404], ["I like both", "[[A]]"], ["[[A]] [[B]]", "[[A]]"]])
def test_what_gets_no_verdict_is_set_aside_counted_and_asked_for_again(
    bad: list[Any], watch: EndpointWatch, endpoint: Endpoint, session: Session, policy: Policy, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [*bad, *BETTER]
    pool = answers(policy, prompts[:1], "the mill", "bread", "flour")
    assert watch.compare(pool) == [0.5, None, 1.0]
    assert watch.without_verdict == 1
    endpoint.replies = [*WORSE]
    assert EndpointWatch(endpoint.settings(), session).compare(pool) == [0.5, 0.0, 1.0]


def test_a_busy_endpoint_is_asked_again_after_a_while(
    watch: EndpointWatch, endpoint: Endpoint, policy: Policy, prompts: list[Dialogue], paused: list[float]
) -> None:
    endpoint.replies = [429, *BETTER]
    assert watch.compare(answers(policy, prompts[:1], "the mill", "bread")) == [0.5, 1.0]
    assert sum(paused) > 0


def test_three_answers_running_without_a_verdict_stop_the_stage_with_the_key(
    watch: EndpointWatch, endpoint: Endpoint, session: Session, policy: Policy, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [*BETTER, 404, 404, 404]
    with pytest.raises(DataError, match=r"status 404.*third answer running.*\(reward\.watch\.endpoint\)"):
        watch.compare(answers(policy, prompts[:1], "the mill", "bread", "a", "b", "c"))
    kept = read_journal(session.folder / "samples" / "watched.jsonl")
    assert [row["preferred"] for row in kept if "preferred" in row] == [1]


def test_a_journal_of_something_else_is_refused_with_file_and_line(
    watch: EndpointWatch, endpoint: Endpoint, policy: Policy, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [*BETTER]
    pool = answers(policy, prompts[:1], "the mill", "bread")
    watch.compare(pool)
    watch.path.write_text('{"answer": "x", "preferred": 7}\n')
    with pytest.raises(CheckpointError, match=r"watched\.jsonl:1 is no verdict"):
        watch.compare(pool)


def test_as_a_judge_its_figure_is_the_wins_and_an_answer_without_a_verdict_has_none(
    watched: RewardJudges, endpoint: Endpoint, policy: Policy, prompts: list[Dialogue]
) -> None:
    judge = WatchJudge(judges=watched)
    endpoint.replies = [*BETTER, 404]
    assert judge.judge(answers(policy, prompts[:1], "the mill", "bread", "flour")) == [{"wins": 0.5}, {"wins": 1.0}, {}]
    assert judge.name == "outside-watch"
    assert {decision.figure for decision in judge.decides.values()} == {"wins"}


@pytest.mark.parametrize(("verdict", "better"), [(BETTER, True), (WORSE, False)])
def test_ppos_best_iteration_is_the_one_that_it_prefers_to_the_start(
    verdict: list[str],
    better: bool,
    endpoint: Endpoint,
    policy: Policy,
    watched: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
) -> None:
    endpoint.replies = [*verdict] * 100
    result = train_ppo(policy, watched, both(prompts), PPO, session)
    assert (result.best.iteration > 0) is better
    assert result.course[0].watch == 0.5  # the start against itself
    assert max(entry.watch or 0 for entry in result.course[1:]) > 0.5 or not better
    assert len(endpoint.asked) <= 2 * len(prompts) * PPO.iterations  # held-out answers alone are compared
    (figure, *_) = ppo_section(session.folder, stage="rlhf-v1", result={}, compares=True).blocks
    assert "outside watch model, comparisons with the start won" in [series.name for series in figure.series]  # type: ignore[union-attr]


def test_ppo_counts_the_held_out_answers_without_a_verdict(
    endpoint: Endpoint, policy: Policy, watched: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [404, *BETTER * 100]
    train_ppo(policy, watched, both(prompts), PPO, session)
    course = json.loads((session.folder / "ppo.json").read_text())["held_out"]
    assert [entry.get("without_verdict", 0) for entry in course if entry["iteration"]].count(1.0) == 1
    (figure, *_) = ppo_section(session.folder, stage="rlhf-v1", result={}, compares=True).blocks
    assert "gave no verdict on 1 answers, which are left out" in figure.note  # type: ignore[union-attr]


def test_a_held_out_evaluation_without_any_verdict_decides_nothing_by_the_reward_instead(
    endpoint: Endpoint, policy: Policy, watched: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    endpoint.replies = [404] * 2
    with pytest.raises(DataError, match="gave no verdict on any of 2 answers"):
        train_ppo(policy, watched, both(prompts[:2]), PPO, session)
