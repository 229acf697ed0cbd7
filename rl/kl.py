"""The weight of PPO's KL to its start, beta: constant, or following a target (Ziegler et al. 2019, 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rl.settings import PpoSettings

if TYPE_CHECKING:
    from torch import Tensor

_MOST_ERROR = 0.2  # Ziegler et al. 2019, 2.2: the proportional error is clipped to this


class KlCoefficient:
    """beta as it is now, and where it counts.

    With a target (Ziegler et al. 2019, 2.2; K_beta is answers / horizon as in their code):

        e = clip((KL - target) / target, -0.2, 0.2),   beta <- beta (1 + e answers / horizon)

    Attributes:
        beta: from `kl_coefficient` on.
    """

    def __init__(self, settings: PpoSettings) -> None:
        self.beta = settings.kl_coefficient
        self._in_reward, self._adaptive = settings.kl_in == "reward", settings.adaptive_kl

    @property
    def in_reward(self) -> float:
        """Its weight in the tokens' rewards."""
        return self.beta if self._in_reward else 0.0

    @property
    def in_loss(self) -> float:
        """Its weight in the policy's loss."""
        return 0.0 if self._in_reward else self.beta

    def follow(self, kl: float, answers: int) -> None:
        """After an iteration: nothing, or a step towards the target.

        Args:
            kl: mean KL of the iteration's answers, by k1, in nats an answer.
            answers: how many they were.
        """
        if self._adaptive is not None:
            error = (kl - self._adaptive.target) / self._adaptive.target
            self.beta *= 1.0 + min(max(error, -_MOST_ERROR), _MOST_ERROR) * answers / self._adaptive.horizon

    def figures(self) -> dict[str, float]:
        """beta as a row of the metrics has it, where it moves."""
        return {} if self._adaptive is None else {"kl_coefficient": self.beta}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: its state is a number."""
        return {}

    def values(self) -> Mapping[str, Any]:
        """As `figures`."""
        return self.figures()

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put it back."""
        if self._adaptive is not None:
            self.beta = float(values["kl_coefficient"])
