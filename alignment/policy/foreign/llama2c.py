"""The legacy llama2.c format: a header of seven int32, then fp32 tensors in a fixed order; and its tokenizer file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig

from alignment.errors import CheckpointError
from alignment.model.checkpoint import require_finite
from alignment.model.llama import LlamaPolicy
from alignment.policy.foreign.rotary_order import to_halves

_HEADER = struct.Struct("<7i")


def read_llama2c(path: Path) -> LlamaPolicy:
    """The model of a `.bin` file of llama2.c (version 0, fp32).

    Raises:
        CheckpointError: the header makes no Llama, or the file is shorter or longer than it says.
    """
    try:
        header = _HEADER.unpack(path.read_bytes()[: _HEADER.size])
    except (OSError, struct.error) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); a .bin file of llama2.c is needed") from None
    width, hidden, layers, heads, kv_heads, vocab_size, context = header
    tied, vocab_size = vocab_size > 0, abs(vocab_size)  # a negative size says that the head has weights of its own
    whole = 0 < width < 1 << 20 and 0 < heads <= width and 0 < layers < 1 << 12 and 0 < hidden < 1 << 22
    if not whole or not 0 < kv_heads <= heads or heads % kv_heads or width % (2 * heads) or not 0 < context < 1 << 24:
        raise CheckpointError(f"{path} has the header {header}, which makes no Llama; is it a .bin file of llama2.c?")
    head_width = width // heads
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("embed", (vocab_size, width)),
        ("input_layernorm", (layers, width)),
        ("self_attn.q_proj", (layers, width, width)),
        ("self_attn.k_proj", (layers, kv_heads * head_width, width)),
        ("self_attn.v_proj", (layers, kv_heads * head_width, width)),
        ("self_attn.o_proj", (layers, width, width)),
        ("post_attention_layernorm", (layers, width)),
        ("mlp.gate_proj", (layers, hidden, width)),
        ("mlp.down_proj", (layers, width, hidden)),
        ("mlp.up_proj", (layers, hidden, width)),
        ("norm", (width,)),
        ("rotary tables", (2, context, head_width // 2)),
    ]
    if not tied:
        shapes.append(("head", (vocab_size, width)))
    wanted = _HEADER.size + 4 * sum(int(np.prod(shape)) for _, shape in shapes)
    size = path.stat().st_size
    if size != wanted:
        raise CheckpointError(
            f"{path} has {size:,} bytes, its header {header} says {wanted:,}; it is cut or another format"
        )
    data = np.fromfile(path, dtype="<f4", offset=_HEADER.size)
    tensors, at = {}, 0
    for name, shape in shapes:
        count = int(np.prod(shape))
        tensors[name] = torch.from_numpy(data[at : at + count].reshape(shape).copy())
        at += count
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaPolicy(config)
    model.load_state_dict(_named(tensors, layers, heads, kv_heads))
    require_finite(model, str(path))
    return model


def _named(tensors: dict[str, Tensor], layers: int, heads: int, kv_heads: int) -> dict[str, Tensor]:
    found = {"model.embed_tokens.weight": tensors["embed"], "model.norm.weight": tensors["norm"]}
    found["lm_head.weight"] = tensors.get("head", tensors["embed"])
    for name, stacked in tensors.items():
        if stacked.shape[0] != layers or name in ("embed", "norm", "head", "rotary tables"):
            continue
        for layer in range(layers):
            weight = stacked[layer]
            if name in ("self_attn.q_proj", "self_attn.k_proj"):
                weight = to_halves(weight, heads if name.endswith("q_proj") else kv_heads)
            found[f"model.layers.{layer}.{name}.weight"] = weight
    return found
