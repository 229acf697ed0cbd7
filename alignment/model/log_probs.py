"""From hidden states to the log-probabilities of the tokens that matter, in chunks.

Used by SFT's loss, PPO's ratio, the KL and scoring: the vocabulary projection is computed only at
positions that carry loss, and no full [tokens, vocabulary] tensor is held.  N positions, C width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

_CHUNK_ELEMENTS = 1 << 22  # logits held at once (16 MiB in fp32)


def token_log_probs(
    hidden: Tensor, head_weight: Tensor, targets: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target under softmax(W h / temperature), in fp32 (fp64 stays fp64).

    Args:
        hidden: [N, C] hidden states that predict the targets.
        head_weight: [V, C] vocabulary projection.
        targets: [N] token ids.
        temperature: divides the logits; the sampling distribution's for PPO.
        entropy: also return the distribution's entropy, in nats, without gradient.

    Returns:
        log_probs [N], and entropies [N] or None.
    """
    rows = max(1, _CHUNK_ELEMENTS // head_weight.shape[0])
    recompute = torch.is_grad_enabled() and hidden.shape[0] > rows
    pieces: list[
        tuple[Tensor, Tensor]
    ] = []  # one, empty, without targets: the gradient reaches every parameter then too
    for h, t in zip(hidden.split(rows), targets.split(rows), strict=True):
        if recompute:
            pieces.append(checkpoint(_chunk, h, head_weight, t, temperature, entropy, use_reentrant=False))
        else:
            pieces.append(_chunk(h, head_weight, t, temperature, entropy))
    log_probs = torch.cat([piece[0] for piece in pieces])
    return log_probs, (torch.cat([piece[1] for piece in pieces]) if entropy else None)


def _chunk(h: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
    logits = h @ weight.t()
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    chosen = -cross_entropy(logits, targets, reduction="none")
    if not entropy:
        return chosen, chosen.detach()
    with torch.no_grad():
        log_all = torch.log_softmax(logits, dim=-1)
        return chosen, -(log_all.exp() * log_all).sum(-1)
