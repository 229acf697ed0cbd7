"""What the baselines come to.  No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rl.result import Course


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """What a policy's implicit reward, beta (log pi - log pi_0), says of pairs (Rafailov et al. 2023, eq. 5 and 7).

    Attributes:
        loss: DPO's, in nats a pair.
        accuracy: share of the pairs whose chosen answer has the higher implicit reward.
        margin: mean of the chosen answer's implicit reward less the rejected one's.
    """

    loss: float
    accuracy: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class DpoResult:
    """A finished DPO.

    Attributes:
        steps: optimizer steps.
        pairs: trained on, each as often as `epochs` says.
        too_long: pairs, held-out ones too, that were left out because an answer does not fit the context.
        seconds: of all steps.
        held_out_pairs: how many were kept to measure with.
        held_out: what the trained policy's implicit reward says of them; None where there is none.
    """

    steps: int
    pairs: int
    too_long: int
    seconds: float
    held_out_pairs: int = 0
    held_out: PairFigures | None = None

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        return f"accuracy {self.held_out.accuracy:.4g}" if self.held_out is not None else f"steps {self.steps:,}"

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds: one flat mapping."""
        measured = asdict(self.held_out) if self.held_out is not None else {}
        plain = {name: value for name, value in asdict(self).items() if name != "held_out"}
        return {**measured, **plain}


@dataclass(frozen=True, kw_only=True)
class GrpoResult(Course):
    """A finished GRPO; an evaluation's `iteration` is the steps before it.

    Attributes:
        steps: optimizer steps.
        samples: answers drawn, held-out ones not counted.
        seconds: of all steps, sampling, scoring and held-out rewards included.
    """

    steps: int
    samples: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `grpo.json` and `stage.json` hold."""
        return {
            "steps": self.steps,
            "samples": self.samples,
            "held_out": [entry.as_json() for entry in self.course],
            "start_reward": self.course[0].reward,
            "best_reward": self.best.reward,
            "best_step": self.best.iteration,
            "seconds": self.seconds,
            "prompts_left_out": self.left_out,
        }
