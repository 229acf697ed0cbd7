"""The language-modelling loss: summed cross-entropy of a forest batch's targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alignment.data.packing import ForestBatch
from alignment.model.log_probs import token_log_probs
from alignment.text.policy import head_weight, hidden_states
from alignment.train.compute import Compute


def language_loss(model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed negative log-likelihood, in nats, of the tokens that carry loss.

    The vocabulary projection is computed only at the positions that predict them.
    """
    log_probs = target_log_probs(model, batch)
    return -log_probs.sum(), {}


def target_log_probs(model: nn.Module, batch: ForestBatch, *, temperature: float = 1.0) -> Tensor:
    """Log-probabilities [N] of a batch's targets under the model, in nats."""
    hidden = hidden_states(model, batch.token_ids, batch.plan())
    predicted = hidden.index_select(0, batch.predictors)
    targets = batch.token_ids.index_select(0, batch.targets)
    return token_log_probs(predicted, head_weight(model), targets, temperature=temperature)[0]


def num_targets(batch: ForestBatch) -> float:
    """The divisor: every target counts alike, wherever it stands."""
    return float(batch.num_targets)


def held_out_loss(model: nn.Module, batches: Sequence[ForestBatch], compute: Compute) -> dict[str, float]:
    """Mean loss (nats a token) and perplexity on held-out forest batches."""
    total, count = 0.0, 0
    with torch.inference_mode(), compute.autocast():
        for batch in batches:
            total += float(language_loss(model, batch.to(compute.device))[0])
            count += batch.num_targets
    if not count:
        return {}
    mean = total / count
    return {"loss": mean, "perplexity": float(torch.exp(torch.tensor(min(mean, 50.0))))}
