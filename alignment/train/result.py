"""What a training comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A finished training: pretraining, SFT, or the training inside another stage.

    Attributes:
        steps: optimizer steps, skipped ones included.
        tokens: trained on.
        seconds: of all steps, without saving and evaluating.
        held_out: the last held-out figures: `loss` in nats a token and `perplexity`, or those of another loss; empty
            where nothing is held out.
        skipped: steps left out because something was not finite.
        counts: what became of the records: `documents`; or `dialogues` and how many were `truncated`, `dropped`,
            `split` or `untrainable`; `replayed_documents` and their `replayed_tokens` where some were mixed in.
        packing_efficiency: share of the forests' tokens that is used; None where the batch is not counted in forests.
        adapter_parameters: numbers that were trained beside the frozen model; None where all of it was trained.
    """

    steps: int
    tokens: int
    seconds: float
    held_out: Mapping[str, float] = field(default_factory=dict)
    skipped: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    packing_efficiency: float | None = None
    adapter_parameters: int | None = None

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        if "perplexity" in self.held_out:
            return f"perplexity {self.held_out['perplexity']:.4g}"
        return f"steps {self.steps:,}"

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds: one flat mapping."""
        skipped = {"skipped_steps": self.skipped} if self.skipped else {}
        packing = {} if self.packing_efficiency is None else {"packing_efficiency": self.packing_efficiency}
        adapter = {} if self.adapter_parameters is None else {"adapter_parameters": self.adapter_parameters}
        plain = {"steps": self.steps, "tokens": self.tokens, "seconds": self.seconds}
        return {**self.held_out, **plain, **skipped, **self.counts, **packing, **adapter}
