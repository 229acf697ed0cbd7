"""Reward models: preferences in, scores out (Llama 2 paper, 3.2)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward.brought import open_reward_model as open_reward_model
    from reward.function import FunctionReward as FunctionReward
    from reward.model import RewardModel as RewardModel
    from reward.settings import RewardSettings as RewardSettings
    from reward.train import train_reward as train_reward

_HOMES = {
    "RewardModel": "reward.model",
    "train_reward": "reward.train",
    "RewardSettings": "reward.settings",
    "FunctionReward": "reward.function",
    "open_reward_model": "reward.brought",
}
__all__ = ["FunctionReward", "RewardModel", "RewardSettings", "open_reward_model", "train_reward"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
