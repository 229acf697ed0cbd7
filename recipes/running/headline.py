"""The one figure of a stage that a table shows.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipes.running.record import StageRecord
from recipes.running.telling import figure

# by preference; the first that a result holds is shown
_FIRST = (
    "headline",
    "held_out_accuracy",
    "accuracy",
    "held_out_reward",
    "best_reward",
    "kept_reward",
    "reward",
    "consistency",
    "held_out_loss",
    "perplexity",
    "vocab_size",
    "loss",
    "pages",
    "steps",
)


def headline(record: StageRecord) -> str:
    """`held_out_loss 2.31`, or "" if the result holds no figure."""
    return headline_of(record.result)


def headline_of(result: Mapping[str, Any]) -> str:
    """The first known figure of a result, else its first figure."""
    for name in (*_FIRST, *result):
        value = result.get(name)
        if isinstance(value, str) and name == "headline":
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"{name} {figure(value)}"
    return ""
