"""From hidden states to the log-probabilities of the tokens that matter, in chunks.

Used by SFT's loss, PPO's ratio, the KL and scoring: the vocabulary projection is computed only at
positions that carry loss, and no full [tokens, vocabulary] tensor is held.  The gradient of a
log-probability at the logits is onehot(target) - softmax(logits), written down rather than left to
autograd, whose copies of the logits take longer than the matrix products.

N positions, C width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from alignment.model.attention import AttentionPlan

_CHUNK_ELEMENTS = 1 << 22  # logits computed at once (16 MiB in fp32)


def hidden_states(model: nn.Module, token_ids: Tensor, plan: AttentionPlan) -> Tensor:
    """Hidden states [T, C] of a forest's tokens [T]; the same call for every architecture."""
    body = cast(PreTrainedModel, model).get_decoder()  # PEFT's wrapper passes the call on
    out = body(input_ids=token_ids[None], position_ids=plan.positions[None], forest_plan=plan, use_cache=False)
    return out.last_hidden_state[0]


def head_weight(model: nn.Module) -> Tensor:
    """The vocabulary projection [V, C]."""
    head = cast(PreTrainedModel, model).get_output_embeddings()
    return cast(Tensor, head.weight)


def token_log_probs(hidden: Tensor, head_weight: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log-probability of each target under softmax(W h / temperature), in fp32 (fp64 stays fp64).

    Args:
        hidden: [N, C] hidden states that predict the targets.
        head_weight: [V, C] vocabulary projection.
        targets: [N] token ids.
        temperature: divides the logits; the sampling distribution's for PPO.

    Returns:
        [N], in nats.  More than one chunk's logits are computed again in the backward pass.
    """
    log_probs: Tensor = _TokenLogProbs.apply(hidden, head_weight, targets, temperature)
    return log_probs


def summed_log_probs(hidden: Tensor, head_weight: Tensor, targets: Tensor) -> Tensor:
    """The sum of `token_log_probs` at temperature 1: its gradients are made on the way, and no logits twice."""
    total: Tensor = _SummedLogProbs.apply(hidden, head_weight, targets)
    return total


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tensor:
        ctx.temperature, ctx.dtype = temperature, _product_dtype(hidden)
        head, kept = _Head(hidden, weight, ctx.dtype), None
        pieces = []
        chunks = head.chunks()
        for rows in chunks:
            log_probs, probabilities = head.chunk(rows, targets, temperature)
            pieces.append(log_probs)
            if len(chunks) == 1 and any(ctx.needs_input_grad):
                kept = probabilities
        ctx.save_for_backward(hidden, weight, targets, kept)
        return torch.cat(pieces)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, kept = ctx.saved_tensors
        head = _Head(hidden, weight, ctx.dtype)
        head.start_gradients(*ctx.needs_input_grad[:2])
        for rows in head.chunks():
            again = head.chunk(rows, targets, ctx.temperature)[1] if kept is None else kept
            scaled = grad[rows, None] / ctx.temperature
            slope = (again * -scaled).scatter_add_(1, targets[rows, None], scaled)
            head.add_gradients(rows, slope)
        return *head.gradients(), None, None


class _SummedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        head = _Head(hidden, weight, _product_dtype(hidden))
        head.start_gradients(*ctx.needs_input_grad[:2])
        totals = []
        for rows in head.chunks():
            log_probs, probabilities = head.chunk(rows, targets, 1.0)
            totals.append(log_probs.sum())
            if any(ctx.needs_input_grad):
                one = torch.ones_like(log_probs)[:, None]
                head.add_gradients(rows, probabilities.neg_().scatter_add_(1, targets[rows, None], one))
        ctx.save_for_backward(*head.gradients())
        return torch.stack(totals).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if own is None else own * grad.to(own.dtype) for own in ctx.saved_tensors), None


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype of the vocabulary projection: autocast's where it is on."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _Head:
    """The vocabulary projection in one precision, and its gradients."""

    def __init__(self, hidden: Tensor, weight: Tensor, dtype: torch.dtype) -> None:
        self.dtypes = hidden.dtype, weight.dtype
        self.hidden, self.weight = (
            x.detach() if x.dtype == torch.float64 else x.detach().to(dtype) for x in (hidden, weight)
        )
        self.d_hidden: Tensor | None = None
        self.d_weight: Tensor | None = None

    def chunks(self) -> list[slice]:
        """Runs of positions; one, empty, where there are none."""
        rows = max(1, _CHUNK_ELEMENTS // self.weight.shape[0])
        return [slice(at, at + rows) for at in range(0, max(len(self.hidden), 1), rows)]

    def chunk(self, rows: slice, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """The targets' log-probabilities [n] and all probabilities [n, V] of some positions."""
        with torch.autocast(self.hidden.device.type, enabled=False):
            logits = self.hidden[rows] @ self.weight.t()
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if temperature != 1.0:
            logits = logits.div_(temperature)
        chosen, top = logits.gather(1, targets[rows, None]), logits.amax(1, keepdim=True)
        # in place where the tests have seen it to be exact
        probabilities = torch.softmax(logits, 1, out=logits if logits.device.type == "cpu" else None)
        # the largest probability is 1 over the sum of exp(logit - top), so its logarithm stays exact
        log_probs = chosen - top + probabilities.amax(1, keepdim=True).log()
        return log_probs.squeeze(1), probabilities

    def start_gradients(self, of_hidden: bool, of_weight: bool) -> None:
        """Zeros to add to, in at least fp32."""
        if of_hidden:
            self.d_hidden = torch.empty_like(self.hidden)
        if of_weight:
            wide = torch.promote_types(self.weight.dtype, torch.float32)
            self.d_weight = torch.zeros_like(self.weight, dtype=wide)

    def add_gradients(self, rows: slice, slope: Tensor) -> None:
        """Some positions' part, from the gradient at their logits [n, V]."""
        slope = slope.to(self.weight.dtype)
        with torch.autocast(self.hidden.device.type, enabled=False):
            if self.d_hidden is not None:
                self.d_hidden[rows] = slope @ self.weight
            if self.d_weight is not None:
                self.d_weight += slope.t() @ self.hidden[rows]

    def gradients(self) -> tuple[Tensor | None, ...]:
        """At the hidden states and the weight, in their own dtypes; they are handed over, not kept."""
        found = tuple(
            None if own is None else own.to(dtype)
            for own, dtype in zip((self.d_hidden, self.d_weight), self.dtypes, strict=True)
        )
        self.d_hidden = self.d_weight = None
        return found
