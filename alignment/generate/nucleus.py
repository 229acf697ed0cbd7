"""The sampling distribution: temperature, then top-k, then top-p; and one draw from it.

Top-p by the Llama 2 reference code (`sample_top_p`): tokens sorted by falling probability, a token is
dropped when the mass *before* it exceeds p, the rest is renormalised.  Tokens of equal probability
count in the order of their ids.  N rows, V vocabulary.

A draw is the inverse of the cumulative distribution in the order of token ids at one uniform number,
so it depends on nothing but the row's logits and that number.  Masses are added in fp64: what is
left of rounding is that of the logits and of exp, and it moves a draw only where the uniform number
falls that close to an edge (or where a token's rank or the mass before it comes that close to the cut).
"""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.generate.settings import SamplingSettings

_CANDIDATES = 64  # top-p looks at this many first; most rows need no more
_BLOCK = 64  # masses are added by blocks first, so that no cumulative [N, V] exists


def draw(logits: Tensor, uniforms: Tensor, settings: SamplingSettings) -> tuple[Tensor, Tensor]:
    """Draw one token a row.

    Args:
        logits: [N, V] in any memory order; fp32 logits are overwritten.
        uniforms: [N] fp64 in [0, 1).
        settings: temperature 0 takes the most likely token (the first of equals); its probability is 1.

    Returns:
        tokens [N] int64, and their log-probabilities under the sampling distribution [N] fp32, in nats.
    """
    if settings.temperature == 0:
        tokens = logits.argmax(-1)
        # not simply 0: a row that is not finite must show
        return tokens, 0.0 * logits.gather(-1, tokens[:, None]).squeeze(-1).float()
    weights = sampling_weights(logits, settings)
    total = _total(weights)
    tokens = _locate(weights, uniforms * total)
    chosen = weights.gather(-1, tokens[:, None]).squeeze(-1).double()
    return tokens, (chosen / total).log().float()


def sampling_weights(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """The distribution before normalisation.

    Args:
        logits: [N, V]; overwritten if fp32.
        settings: temperature above 0, top_k, top_p.

    Returns:
        [N, V] fp32: exp((logits - their maximum) / temperature), and 0 for tokens that are dropped.
    """
    weights = logits.float()
    weights.sub_(weights.amax(-1, keepdim=True))
    if settings.temperature != 1.0:
        weights.div_(settings.temperature)
    weights.exp_()
    vocabulary = weights.shape[-1]
    top_k = min(settings.top_k or vocabulary, vocabulary)
    if top_k < vocabulary:
        ranked = _falling(weights, top_k + 1)
        last = torch.full((len(ranked),), top_k - 1, device=ranked.device)
        if settings.top_p < 1.0:
            last = _locate(ranked[:, :top_k], settings.top_p * _total(ranked[:, :top_k]))
        return _cut(weights, ranked, last)
    if settings.top_p < 1.0:
        limit = settings.top_p * _total(weights)
        ranked = _falling(weights, _CANDIDATES + 1)
        last = _locate(ranked[:, :_CANDIDATES], limit)
        open_rows = (last == _CANDIDATES - 1).nonzero().squeeze(-1)  # the nucleus may go on behind the candidates
        if len(open_rows) and vocabulary > _CANDIDATES:
            ended = (last < _CANDIDATES - 1).nonzero().squeeze(-1)
            rest = weights[open_rows]
            ranked_rest = _falling(rest, vocabulary)
            rest = _cut(rest, ranked_rest, _locate(ranked_rest, limit[open_rows]))
            weights[ended] = _cut(weights[ended], ranked[ended], last[ended])
            weights[open_rows] = rest
            return weights
        return _cut(weights, ranked, last)
    return weights


def _falling(weights: Tensor, count: int) -> Tensor:
    """The `count` largest weights of each row (all, if it has fewer), falling."""
    rows, width = weights.shape
    if count < width:
        return weights.topk(count, dim=-1).values
    if weights.device.type != "cpu":
        return weights.sort(-1, descending=True).values
    # numpy's vectorised sort of values alone is some four times faster than torch's on a CPU
    ranked = torch.empty(rows, width).copy_(weights).neg_()
    ranked.numpy().sort(axis=-1)
    return ranked.neg_()


def _total(weights: Tensor) -> Tensor:
    return weights.sum(-1, dtype=torch.float64)


def _locate(weights: Tensor, target: Tensor) -> Tensor:
    """The first place of each row where the cumulative mass exceeds the target, [N].

    A target that rounding puts at the row's whole mass, or beyond, gives the last place with a weight.
    """
    width = weights.shape[-1]
    whole = width // _BLOCK * _BLOCK
    sums = weights[:, :whole].unflatten(-1, (-1, _BLOCK)).sum(-1, dtype=torch.float64)
    if whole < width:
        sums = torch.cat([sums, _total(weights[:, whole:])[:, None]], dim=-1)
    block, before = _first_above(sums, target)
    inside = block[:, None] * _BLOCK + torch.arange(_BLOCK, device=weights.device)
    chosen = weights.gather(-1, inside.clamp(max=width - 1)).double()
    if whole < width:
        chosen.masked_fill_(inside >= width, 0.0)
    place = block * _BLOCK + _first_above(chosen, target - before)[0]
    return place.clamp_(max=width - 1)  # a row that is not finite finds none; its log-probability shows it


def _first_above(masses: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where the cumulative sum [N, W] first exceeds the target [N], and the sum before that place."""
    running = masses.cumsum(-1)
    last = torch.searchsorted(running, running[:, -1:].contiguous())
    found = torch.minimum(torch.searchsorted(running, target[:, None], right=True), last)
    found = found.clamp_(max=masses.shape[-1] - 1)  # of a row that is not finite
    return found.squeeze(-1), (running - masses).gather(-1, found).squeeze(-1)


def _cut(weights: Tensor, ranked: Tensor, last: Tensor) -> Tensor:
    """Zero every weight that ranks behind place `last` [N].

    Args:
        weights: [N, V]; overwritten.
        ranked: [N, W] its largest, falling; W is V or more than any of `last` + 1.
        last: rank of the last token that stays; among equals the first ids stay.
    """
    threshold = ranked.gather(-1, last[:, None])
    kept = weights >= threshold
    behind = (last + 1).clamp(max=ranked.shape[-1] - 1)[:, None]
    tied = (ranked.gather(-1, behind) == threshold).squeeze(-1) & (last + 1 < ranked.shape[-1])
    if bool(tied.any()):
        equal = weights == threshold
        allowed = equal.sum(-1, keepdim=True) - (kept.sum(-1) - last - 1)[:, None]
        kept &= ~equal | (equal.cumsum(-1) <= allowed)
    return weights.mul_(kept)
