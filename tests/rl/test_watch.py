"""The watch model: it rewards no answer, and it decides which iteration is the best."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence

import pytest

from alignment.errors import NonFiniteError, UsageError
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.session import Session
from reward.function import FunctionReward
from rl.judges import RewardJudges
from rl.ppo import train_ppo
from rl.result import HeldOut, PpoResult
from rl.watch import WatchJudge
from tests.rl.test_judges import answers
from tests.rl.test_ppo import SETTINGS, both


def by_length(dialogues: Sequence[Dialogue]) -> list[float]:
    return [float(len(dialogue.turns[-1].content)) for dialogue in dialogues]


@pytest.fixture
def watched(judges: RewardJudges) -> RewardJudges:
    """The judges with a watch model that likes long answers."""
    return dataclasses.replace(judges, watch=FunctionReward(by_length))


def test_no_answer_is_rewarded_by_it(
    judges: RewardJudges, watched: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    pool = answers(policy, [prompts[0], prompts[7]], "the baker")
    assert watched.judge(pool) == judges.judge(pool)
    assert watched.watched(pool) == [9.0, 9.0]
    assert judges.watched(pool) is None


def test_as_a_judge_of_its_own_it_decides_both_campaigns_by_one_score(
    watched: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    judge = WatchJudge(judges=watched)
    assert judge.judge(answers(policy, prompts[:1], "flour")) == [{"score": 5.0}]
    assert {campaign: decision.figure for campaign, decision in judge.decides.items()} == {
        "helpfulness": "score",
        "safety": "score",
    }
    assert not judge.independent


def test_judges_without_one_make_no_such_judge(judges: RewardJudges) -> None:
    with pytest.raises(UsageError, match="have no watch model"):
        WatchJudge(judges=judges)


def test_a_score_that_is_not_finite_is_told_with_its_row(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    broken = dataclasses.replace(judges, watch=FunctionReward(lambda dialogues: [float("nan")] * len(dialogues)))
    with pytest.raises(NonFiniteError) as caught:
        broken.watched(answers(policy, prompts[1:2], "the baker"))
    assert (caught.value.quantity, caught.value.rows) == ("watch score", ("made:2",))


@pytest.mark.parametrize(("step", "best"), [(1.0, SETTINGS.iterations), (-1.0, 0)])
def test_the_best_iteration_is_the_one_that_it_likes_best_whatever_the_reward_says(
    step: float, best: int, policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    asked = itertools.count()
    moody = FunctionReward(lambda dialogues: [step * next(asked)] * len(dialogues))
    result = train_ppo(policy, dataclasses.replace(judges, watch=moody), both(prompts), SETTINGS, session)
    assert result.best.iteration == best
    assert all(
        entry["watch"] is not None for entry in json.loads((session.folder / "ppo.json").read_text())["held_out"]
    )


def test_without_one_the_combined_reward_tells_the_best_iteration() -> None:
    scores = [(0.1, None), (0.3, None), (0.2, None)]
    assert _best(scores) == 1
    assert _best([(0.1, 5.0), (0.3, 4.0), (0.2, 6.0)]) == 2


def test_a_course_without_one_says_nothing_of_it() -> None:
    assert "watch" not in HeldOut(iteration=0, reward=0.1, helpfulness=0.2).as_json()
    assert HeldOut(iteration=0, reward=0.1, helpfulness=0.2, watch=0.3).as_json()["watch"] == 0.3


def _best(scores: Sequence[tuple[float, float | None]]) -> int:
    course = tuple(
        HeldOut(iteration=i, reward=reward, helpfulness=0.0, watch=watch) for i, (reward, watch) in enumerate(scores)
    )
    return PpoResult(iterations=2, course=course, left_out=0).best.iteration
