"""Rotary position embeddings: the angles of each token (RoFormer, 3.2.2), with transformers' scalings of them.

Two scalings, `dynamic` and `longrope`, turn by other angles in a sequence that is longer than the length that the
model was first trained on.  That length is known of rows, and not of forests, whose sequences share tokens: there
positions up to the original length are computed and those beyond it refused.

Shapes: T tokens, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from alignment.errors import UsageError

_BY_LENGTH = ("dynamic", "longrope")


def head_width(config: LlamaConfig) -> int:
    """D."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rotary_table(
    config: LlamaConfig, positions: Tensor, dtype: torch.dtype, *, length: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE for each token.

    Args:
        config: its `rope_parameters` choose the base and the scaling (default, llama3, linear, yarn, …).
        positions: [T].
        dtype: of the result; the angles are computed in fp32.
        length: tokens of the longest sequence so far, a scalar, where all of them are known; only the two scalings
            that go by it ask.

    Returns:
        cos, sin: [T, 1, D/2] each, in transformers' half-split layout.

    Raises:
        UsageError: a position beyond the original length under a scaling that goes by the length, and no `length`.
    """
    kind, original = rope_type(config), original_length(config)
    if kind in _BY_LENGTH and length is None and len(positions) and int(positions.max()) >= original:
        raise UsageError(
            f"rope_type {kind} turns sequences beyond {original} positions by angles that depend on their length, and "
            f"a forest has no one length: position {int(positions.max())} cannot be computed; keep to {original} "
            f"positions, or give rows to the model's forward"
        )
    frequencies, scaling = _frequencies(config, positions.device, length)
    angles = positions[:, None, None].float() * frequencies
    return (angles.cos() * scaling).to(dtype), (angles.sin() * scaling).to(dtype)


def longest(config: LlamaConfig, positions: Tensor) -> Tensor | None:
    """The length that `rotary_table` asks for, one above the largest position, a scalar; None where it asks none."""
    return positions.max() + 1 if rope_type(config) in _BY_LENGTH and len(positions) else None


def rope_type(config: LlamaConfig) -> str:
    """The scaling's name in `rope_parameters`; "default" for none."""
    return str(_parameters(config).get("rope_type", "default"))


def original_length(config: LlamaConfig) -> int:
    """Positions that the scaling was made from: those of the first training."""
    said = _parameters(config).get("original_max_position_embeddings") if rope_type(config) == "longrope" else None
    return int(said or config.max_position_embeddings)


def rope_problem(config: LlamaConfig) -> str | None:
    """What makes a configuration's angles impossible, or None."""
    kind, theta = rope_type(config), _parameters(config).get("rope_theta")
    known = ("default", *ROPE_INIT_FUNCTIONS)
    if kind not in known:
        return f"rope_type is {kind!r}; it is one of {', '.join(known)}"
    if not isinstance(theta, int | float) or isinstance(theta, bool) or not 0 < theta < float("inf"):
        return f"rope_theta is {theta!r}; it is a number above 0"
    try:
        with torch.device("cpu"):  # a model may be built on `meta`
            long = torch.tensor(original_length(config) + 1) if kind in _BY_LENGTH else None
            found = [_frequencies(config, torch.device("cpu"), length) for length in {None, long}]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        return f"rope_parameters {_parameters(config)} give no {kind} angles ({type(error).__name__}: {error})"
    for frequencies, scaling in found:
        if tuple(frequencies.shape) != (head_width(config) // 2,):
            return f"rope_parameters {_parameters(config)} turn a part of each head only; the core turns all of it"
        if not (bool(torch.isfinite(frequencies).all()) and bool((frequencies >= 0).all()) and 0 < scaling < 1e6):
            return f"rope_parameters {_parameters(config)} give angles that are not finite"
    return None


def _parameters(config: LlamaConfig) -> dict[str, Any]:
    return dict(config.rope_parameters or {})


def _frequencies(config: LlamaConfig, device: torch.device, length: Tensor | None) -> tuple[Tensor, float]:
    """Radians a position for each pair of dimensions, [D/2], and the factor of cosine and sine."""
    kind = rope_type(config)
    if kind == "default":
        exponent = torch.arange(0, head_width(config), 2, dtype=torch.float32, device=device) / head_width(config)
        return 1.0 / (_parameters(config)["rope_theta"] ** exponent), 1.0
    compute = ROPE_INIT_FUNCTIONS[kind]
    if length is None or kind not in _BY_LENGTH:
        return compute(config, device)
    if kind == "dynamic":
        return compute(config, device, seq_len=length)
    original = original_length(config)
    (short, scaling), (long, _) = compute(config, device), compute(config, device, seq_len=original + 1)
    return torch.where(length > original, long, short), scaling
