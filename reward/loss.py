"""The reward models' losses, pure (Llama 2 paper, 3.2.2, equations 1 and 2); margins stand in `margins.py`."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


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


def centring_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """( r(x, y_c) + r(x, y_r) )^2, one value a pair: keeps the scores around 0, which the ranking loss leaves open.

    Eisenstein et al. 2023, "Helping or herding?", 3.2; TRL's `center_rewards_coefficient`.

    Args:
        chosen, rejected: [P] scores, of one shape.

    Raises:
        ValueError: the shapes differ.
    """
    if chosen.shape != rejected.shape:
        raise ValueError(f"chosen {tuple(chosen.shape)} and rejected {tuple(rejected.shape)} must have one shape")
    return (chosen + rejected).square()


def safety_loss(scores: Tensor, safe: Tensor) -> Tensor:
    """Binary cross-entropy of sigma(r) against the safety label, one value an answer.

    The paper has an auxiliary safety term but does not give its form; this is the natural reading (ours).

    Args:
        scores: [A] scores.
        safe: [A] 1 for safe, 0 for unsafe.
    """
    return binary_cross_entropy_with_logits(scores, safe, reduction="none")
