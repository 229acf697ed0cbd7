"""The one interface that everything samples through: requests in, samples out.

Rejection sampling, PPO, GAtt, evaluation and chat know only `Sampler`; `engine.py` is the core's
implementation, `fallback.py` that of other architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from alignment.generate.settings import SamplingSettings

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """One prompt and how many answers to draw.

    Attributes:
        id: names the request in journals.
        prompt_ids: the prompt's tokens, BOS included.
        seeds: one seed an answer wanted; an answer depends on its seed and prompt, never on its neighbours.
    """

    id: str
    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer.

    Attributes:
        token_ids: the answer's tokens, with the end token if it ended by itself.
        log_probs: each token's log-probability under the *sampling* distribution (after temperature,
            top-k and top-p), in nats.
        finish_reason: "stop" (end token or stop text) or "length".
        text: the tokens decoded, the end token left out; None from a sampler without `decode`.
    """

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: FinishReason
    text: str | None = None


# called with (request, index of the answer, sample) as soon as an answer is complete
OnSample = Callable[[SampleRequest, int, Sample], None]


class Sampler(Protocol):
    """Draws answers from a policy."""

    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: OnSample | None = None
    ) -> list[list[Sample]]:
        """Draw every answer of every request.

        Returns:
            One list a request, in order, with one sample a seed, in order.

        Raises:
            RequestTooLong: a prompt leaves no room in the context; raised before anything is drawn.
        """
        ...
