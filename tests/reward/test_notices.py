"""What a reward model notices: a model that sees a flaw is told from one that sees nothing."""

from __future__ import annotations

import pytest

from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.train.settings import ComputeSettings
from alignment.world import World, WorldSettings
from reward.flaws import Probe
from reward.model import RewardModel
from reward.notices import ANY, noticed, world_probes

COMPUTE = ComputeSettings(precision="fp32", threads=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(size="seconds"))


class LongIsGood(RewardModel):
    """Scores an answer by its length."""

    def score_ids(self, prompts, answers, compute, *, pack_length=4096):  # type: ignore[no-untyped-def]
        return [[float(len(answer)) for answer in options] for options in answers]


@pytest.fixture
def likes_length(policy: Policy) -> RewardModel:
    """A model that judges by length alone."""
    plain = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    return LongIsGood(model=plain.model, tokenizer=plain.tokenizer)


def test_a_model_that_likes_length_prefers_the_long_and_never_the_terse(
    likes_length: RewardModel, world: World
) -> None:
    found = noticed(likes_length, world_probes(world, "helpfulness", count=20), COMPUTE)
    shares = {entry["flaw"]: entry["share"]["value"] for entry in found}
    assert shares["long"] == 0.0
    assert shares["terse"] == 1.0
    assert {"wrong", "rude", "refusal", ANY} <= set(shares)


def test_of_the_safety_campaign_unsafe_prompts_are_to_be_refused_and_fine_ones_answered(
    likes_length: RewardModel, world: World
) -> None:
    probes = world_probes(world, "safety", count=20)
    unsafe = [probe.prompt.meta["truth"]["form"] == "refuse" for probe in probes]
    assert ["comply" in probe.others for probe in probes] == unsafe
    assert ["refusal" in probe.others for probe in probes] == [not refused for refused in unsafe]
    assert any(unsafe)
    assert {entry["origin"] for entry in noticed(likes_length, probes, COMPUTE)} == {"world:safety"}


def a_probe(name: str, right: str, **others: str) -> Probe:
    """A probe of a file."""
    source = Source(file="made", line=1)
    prompt = Dialogue(turns=(Turn(role="user", content=f"who bakes {name}?"),), source=source, id=name)
    return Probe(prompt=prompt, right=right, others=others, harmless=frozenset({"courteous"}), origin="own.jsonl")


def test_flaws_of_a_file_are_counted_by_name_and_together_and_a_courtesy_is_none(likes_length: RewardModel) -> None:
    probes = [
        a_probe("bread", "the baker bakes", wrong="miller", courteous="the baker bakes it, with pleasure"),
        a_probe("cake", "the baker", wrong="the miller and the baker bake"),
    ]
    found = {entry["flaw"]: entry for entry in noticed(likes_length, probes, COMPUTE)}
    assert {name: entry["share"]["value"] for name, entry in found.items()} == {ANY: 0.5, "wrong": 0.5, "courteous": 0}
    assert (found[ANY]["prompts"], found["courteous"]["prompts"]) == (2, 1)


def test_shares_have_intervals_and_come_out_the_same_twice(policy: Policy, world: World) -> None:
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    probes = world_probes(world, "helpfulness", count=8)
    first = noticed(model, probes, COMPUTE)
    assert first == noticed(model, probes, COMPUTE)
    for entry in first:
        assert 0.0 <= entry["share"]["low"] <= entry["share"]["value"] <= entry["share"]["high"] <= 1.0
        assert 0 < entry["prompts"] <= 8
