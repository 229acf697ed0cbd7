"""The core against transformers' `LlamaForCausalLM` with the same weights: logits and every gradient.

In float64 the peer's two casts to float32 (its norm, and the dtype of its eager softmax) would hide
everything below 1e-7.  The peer is therefore run with SDPA, which keeps float64, and its norm's
forward is replaced by the same formula without the cast.  Its rotary angles are float32 on purpose,
in its code as in ours, and are compared as they are.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from alignment.model.llama import LlamaPolicy
from tests.tolerances import FP32, FP64

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "multi-head": {"num_key_value_heads": 4},
    "grouped-query": {"num_key_value_heads": 2},
    "multi-query": {"num_key_value_heads": 1},
    "tied": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "llama3 rope": {"num_key_value_heads": 2, "rope_parameters": LLAMA3},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    "attention bias": {"num_key_value_heads": 2, "attention_bias": True},
    "feed-forward bias": {"mlp_bias": True},
    "own head width": {"num_key_value_heads": 2, "head_dim": 6},
}


def config(**changes: Any) -> LlamaConfig:
    """A tiny Llama whose context is long enough for llama3's scaling to matter."""
    return LlamaConfig(
        **{
            "vocab_size": 67,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-5,
            "attn_implementation": "sdpa",
            **changes,
        }
    )


def same_weights(changes: dict[str, Any], dtype: torch.dtype) -> tuple[LlamaPolicy, LlamaForCausalLM]:
    """Ours and the peer with the same random weights, gains and biases too."""
    torch.manual_seed(0)
    ours, peer = LlamaPolicy(config(**changes)).to(dtype), LlamaForCausalLM(config(**changes)).to(dtype)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim < 2 else 0.2) + ("norm" in name))
    missing, unexpected = peer.load_state_dict(ours.state_dict(), strict=True)
    assert (missing, unexpected) == ([], [])
    return ours.train(), peer.train()


def _norm_without_cast(self: LlamaRMSNorm, x: torch.Tensor) -> torch.Tensor:
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, against the largest value."""
    return float(((a - b).abs().max() / b.abs().max()).detach())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, FP32), (torch.float64, FP64)], ids=["fp32", "fp64"])
@pytest.mark.parametrize("use_cache", [False, True], ids=["as a forest", "as rows"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_all_gradients_equal_transformers(
    variant: str, use_cache: bool, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype == torch.float64:
        monkeypatch.setattr(LlamaRMSNorm, "forward", _norm_without_cast)
    ours, peer = same_weights(VARIANTS[variant], dtype)
    ids = torch.randint(0, 67, (3, 100), generator=torch.Generator().manual_seed(1))
    losses = []
    for model in (ours, peer):
        logits = model(input_ids=ids, use_cache=use_cache).logits
        assert logits.dtype == dtype
        losses.append((logits, torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())))
        losses[-1][1].backward()
    (our_logits, our_loss), (peer_logits, peer_loss) = losses
    assert relative(our_logits, peer_logits) < tolerance
    assert relative(our_loss, peer_loss) < tolerance
    theirs = dict(peer.named_parameters())
    assert dict(ours.named_parameters()).keys() == theirs.keys()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        assert theirs[name].grad is not None, name
        if name.endswith("k_proj.bias"):
            # adding to every key moves no softmax at position 0; elsewhere RoPE turns it: compare absolutely
            assert (parameter.grad - theirs[name].grad).abs().max() < tolerance, name
        else:
            assert relative(parameter.grad, theirs[name].grad) < tolerance, name


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows_equal_transformers_where_there_are_tokens(side: str) -> None:
    ours, peer = same_weights({"num_key_value_heads": 2}, torch.float32)
    ids = torch.randint(0, 67, (3, 20), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, pad in enumerate((0, 7, 13)):
        mask[row, :pad] = 0
    if side == "right":
        mask = mask.flip(1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        a = ours(input_ids=ids, attention_mask=mask).logits
        b = peer(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    assert relative(a[mask.bool()], b[mask.bool()]) < FP32


def test_a_wrong_weight_is_seen_by_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaRMSNorm, "forward", _norm_without_cast)
    ours, peer = same_weights({}, torch.float64)
    with torch.no_grad():
        ours.model.layers[1].self_attn.k_proj.weight[3, 5] += 1e-5
        ids = torch.arange(20)[None]
        assert relative(ours(input_ids=ids).logits, peer(input_ids=ids).logits) > FP64
