"""The learning rate's schedule: linear warm-up, then cosine or constant (Llama 2 paper, 2.2 and 3.1).  No torch."""

from __future__ import annotations

import math

from alignment.train.settings import OptimizerSettings


def warmup_length(settings: OptimizerSettings, num_steps: int) -> int:
    """Steps of warm-up: the longer of the two settings, but never the whole training."""
    wanted = max(settings.warmup_steps, math.ceil(settings.warmup_fraction * num_steps))
    return min(wanted, max(num_steps - 1, 0))


def learning_rate(settings: OptimizerSettings, step: int, num_steps: int) -> float:
    """The learning rate of a step.

    Args:
        step: counted from 1.
        num_steps: all steps; the cosine reaches `final_fraction` of the peak at the last.
    """
    warmup = warmup_length(settings, num_steps)
    if step <= warmup:
        return settings.learning_rate * step / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(num_steps - warmup, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    return settings.learning_rate * (settings.final_fraction + (1.0 - settings.final_fraction) * cosine)
