"""RLHF: rejection sampling and PPO, V1 to Vn (Llama 2 paper, 3.2.3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.control import Round as Round
    from rl.control import train_control as train_control
    from rl.dpo import train_dpo as train_dpo
    from rl.grpo import train_grpo as train_grpo
    from rl.judges import RewardJudges as RewardJudges
    from rl.ppo import PromptSplit as PromptSplit
    from rl.ppo import train_ppo as train_ppo
    from rl.rejection import rejection_sample as rejection_sample
    from rl.settings import DpoSettings as DpoSettings
    from rl.settings import GrpoSettings as GrpoSettings
    from rl.settings import PpoReplaySettings as PpoReplaySettings
    from rl.settings import PpoSettings as PpoSettings
    from rl.settings import RejectionSettings as RejectionSettings

_HOMES = {
    "Round": "rl.control",
    "train_control": "rl.control",
    "train_dpo": "rl.dpo",
    "train_grpo": "rl.grpo",
    "rejection_sample": "rl.rejection",
    "train_ppo": "rl.ppo",
    "PromptSplit": "rl.ppo",
    "RewardJudges": "rl.judges",
    "DpoSettings": "rl.settings",
    "GrpoSettings": "rl.settings",
    "RejectionSettings": "rl.settings",
    "PpoSettings": "rl.settings",
    "PpoReplaySettings": "rl.settings",
}
__all__ = [
    "DpoSettings",
    "GrpoSettings",
    "PpoReplaySettings",
    "PpoSettings",
    "PromptSplit",
    "RejectionSettings",
    "RewardJudges",
    "Round",
]
__all__ += ["rejection_sample", "train_control", "train_dpo", "train_grpo", "train_ppo"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
