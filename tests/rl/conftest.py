"""Prompts and judges small enough to follow by hand."""

from __future__ import annotations

from typing import Any

import pytest

import rl.ppo
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.train.settings import ComputeSettings
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.roles import Roles


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
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Roles]:
    """The roles of every PPO that the test runs, in order."""
    found: list[Roles] = []
    real = rl.ppo.open_roles

    def opens(*arguments: Any) -> Roles:
        found.append(real(*arguments))
        return found[-1]

    monkeypatch.setattr(rl.ppo, "open_roles", opens)
    return found


@pytest.fixture
def judges(policy: Policy) -> RewardJudges:
    """Two untrained reward models on the policy's body."""
    return RewardJudges(
        helpfulness=RewardModel.from_policy(policy, seed=0, name="helpfulness"),
        safety=RewardModel.from_policy(policy, seed=0, name="safety"),
        compute=ComputeSettings(precision="fp32", threads=1),
    )
