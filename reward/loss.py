"""The reward models' losses, pure (Llama 2 paper, 3.2.2, equations 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from alignment.records import Grade

MarginName = Literal["none", "small", "large"]

# m(r) by grade (Llama 2 paper, table 27)
MARGINS: Mapping[MarginName, Mapping[Grade, float]] = MappingProxyType(
    {
        "none": MappingProxyType({"significantly": 0.0, "better": 0.0, "slightly": 0.0, "negligibly": 0.0}),
        "small": MappingProxyType({"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0}),
        "large": MappingProxyType({"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0}),
    }
)


def margin_of(grade: Grade | None, table: MarginName) -> float:
    """m(r); a pair without a grade has margin 0."""
    return 0.0 if grade is None else MARGINS[table][grade]


def ranking_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """-log sigma( r(x, y_c) - r(x, y_r) - m ), one value a pair.

    Args:
        chosen: [P] scores of the chosen answers.
        rejected: [P] scores of the rejected answers.
        margin: [P] margins; all three must have one shape (a [P, 1] would mix pairs silently).

    Raises:
        ValueError: the shapes differ.
    """
    if not chosen.shape == rejected.shape == margin.shape:
        raise ValueError(
            f"chosen {tuple(chosen.shape)}, rejected {tuple(rejected.shape)} and margin {tuple(margin.shape)} "
            f"must have one shape"
        )
    return -logsigmoid(chosen - rejected - margin)


def safety_loss(scores: Tensor, safe: Tensor) -> Tensor:
    """Binary cross-entropy of sigma(r) against the safety label, one value an answer.

    The paper has an auxiliary safety term but does not give its form; this is the natural reading (ours).

    Args:
        scores: [A] scores.
        safe: [A] 1 for safe, 0 for unsafe.
    """
    return binary_cross_entropy_with_logits(scores, safe, reduction="none")
