"""RLHF: rejection sampling and PPO, V1 to Vn (Llama 2 paper, 3.2.3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.judges import RewardJudges as RewardJudges
    from rl.ppo import PromptSplit as PromptSplit
    from rl.ppo import train_ppo as train_ppo
    from rl.rejection import rejection_sample as rejection_sample
    from rl.settings import PpoSettings as PpoSettings
    from rl.settings import RejectionSettings as RejectionSettings

_HOMES = {
    "rejection_sample": "rl.rejection",
    "train_ppo": "rl.ppo",
    "PromptSplit": "rl.ppo",
    "RewardJudges": "rl.judges",
    "RejectionSettings": "rl.settings",
    "PpoSettings": "rl.settings",
}
__all__ = ["PpoSettings", "PromptSplit", "RejectionSettings", "RewardJudges", "rejection_sample", "train_ppo"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
