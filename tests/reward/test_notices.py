"""What a reward model notices: a model that sees a flaw is told from one that sees nothing."""

from __future__ import annotations

import pytest

from alignment.policy.policy import Policy
from alignment.train.settings import ComputeSettings
from alignment.world import World, WorldSettings
from reward.model import RewardModel
from reward.notices import noticed

COMPUTE = ComputeSettings(precision="fp32", threads=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(size="seconds"))


class LongIsGood(RewardModel):
    """Scores an answer by its length."""

    def score_ids(self, prompts, answers, compute, *, pack_length=4096):  # type: ignore[no-untyped-def]
        return [[float(len(answer)) for answer in options] for options in answers]


def test_a_model_that_likes_length_prefers_the_long_and_never_the_terse(policy: Policy, world: World) -> None:
    plain = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    model = LongIsGood(model=plain.model, tokenizer=plain.tokenizer)
    shares = {entry["flaw"]: entry["share"]["value"] for entry in noticed(model, world, COMPUTE, count=20)}
    assert shares["long"] == 0.0
    assert shares["terse"] == 1.0
    assert {"wrong", "rude", "refusal"} <= set(shares)


def test_shares_have_intervals_and_come_out_the_same_twice(policy: Policy, world: World) -> None:
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    first = noticed(model, world, COMPUTE, count=8)
    assert first == noticed(model, world, COMPUTE, count=8)
    for entry in first:
        assert 0.0 <= entry["share"]["low"] <= entry["share"]["value"] <= entry["share"]["high"] <= 1.0
        assert 0 < entry["prompts"] <= 8
