"""Prompts and judges small enough to follow by hand."""

from __future__ import annotations

import pytest

from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.train.settings import ComputeSettings
from reward.model import RewardModel
from rl.judges import RewardJudges


@pytest.fixture
def prompts() -> list[Dialogue]:
    """Eight prompts; the last two are tagged as safety prompts."""
    return [
        Dialogue(
            turns=(Turn(role="user", content=f"who sells the bread in {i}?"),),
            source=Source(file="made", line=i + 1),
            id=f"p{i}",
            meta={"campaign": "safety" if i > 5 else "helpfulness"},
        )
        for i in range(8)
    ]


@pytest.fixture
def judges(policy: Policy) -> RewardJudges:
    """Two untrained reward models on the policy's body."""
    return RewardJudges(
        helpfulness=RewardModel.from_policy(policy, seed=0, name="helpfulness"),
        safety=RewardModel.from_policy(policy, seed=0, name="safety"),
        compute=ComputeSettings(precision="fp32", threads=1),
    )
