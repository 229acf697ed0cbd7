"""The language-modelling loss: summed cross-entropy of a forest batch's targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alignment.batch.tree import ForestBatch
from alignment.model.log_probs import head_weight, hidden_states, summed_log_probs, token_log_probs
from alignment.train.compute import Compute


def language_loss(model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed negative log-likelihood, in nats, of the tokens that carry loss.

    The vocabulary projection is computed only at the positions that predict them.
    """
    return -summed_log_probs(*_predicted(model, batch)), {}


def target_log_probs(model: nn.Module, batch: ForestBatch, *, temperature: float = 1.0) -> Tensor:
    """Log-probabilities [N] of a batch's targets under the model, in nats."""
    return token_log_probs(*_predicted(model, batch), temperature=temperature)


def _predicted(model: nn.Module, batch: ForestBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The hidden states [N, C] that predict the targets, the vocabulary projection [V, C], the targets [N]."""
    hidden = hidden_states(model, batch.token_ids, batch.plan())
    return hidden.index_select(0, batch.predictors), head_weight(model), batch.token_ids.index_select(0, batch.targets)


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
