"""What RLHF's stages come to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Mean scores of greedy answers to held-out prompts, before the sigmoid.

    Attributes:
        iteration: after how many; 0 is the start.
        reward: the combined one.
    """

    iteration: int
    reward: float
    helpfulness: float
    safety: float


@dataclass(frozen=True, kw_only=True)
class PpoResult:
    """PPO's course.

    Attributes:
        iterations: done.
        course: every held-out evaluation, the start first.
        left_out: prompts that leave no room for an answer.
        skipped: updates left out because something was not finite.
    """

    iterations: int
    course: tuple[HeldOut, ...]
    left_out: int
    skipped: int = 0

    @property
    def best(self) -> HeldOut:
        """The evaluation with the highest reward, the first of equals: its model is the result."""
        return max(self.course, key=lambda entry: entry.reward)

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        return f"best_reward {self.best.reward:.4g}"

    def as_json(self) -> Mapping[str, Any]:
        """What `ppo.json` and `stage.json` hold."""
        skipped = {"skipped_updates": self.skipped} if self.skipped else {}
        return {
            "iterations": self.iterations,
            "held_out": [asdict(entry) | {"iteration": float(entry.iteration)} for entry in self.course],
            "start_reward": self.course[0].reward,
            "best_reward": self.best.reward,
            "best_iteration": self.best.iteration,
            "prompts_left_out": self.left_out,
            **skipped,
        }
