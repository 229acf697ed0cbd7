"""Which configurations are refused before a weight is made or read: what the core does not compute, and the absurd."""

from __future__ import annotations

import math
from typing import Any

from transformers import LlamaConfig, PreTrainedConfig

from alignment.model.rotary import head_width, rope_problem

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


def config_problem(config: LlamaConfig) -> str | None:
    """Why the core cannot compute a configuration as it is written, or None.

    transformers' Llama has settings that the core has not (another activation, dropout on attention weights): a
    model that has them would be computed as another one without a word.
    """
    for name in _SIZES:
        value = getattr(config, name, None)
        if value is None and name == "num_key_value_heads":
            continue  # as many as query heads
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            return f"{name} is {value!r}; it is a whole number above 0"
    if head_width(config) < 2 or head_width(config) % 2:
        return f"head_dim is {head_width(config)}; rotary embeddings turn pairs of dimensions, so it is even"
    if config.hidden_act not in ("silu", "swish"):
        return f"hidden_act is {config.hidden_act!r}; the core computes 'silu' alone"
    if config.attention_dropout:
        return f"attention_dropout is {config.attention_dropout}; the core has none, so it is 0.0"
    if getattr(config, "is_causal", True) is False:
        return "is_causal is False; the core attends to earlier tokens alone"
    if not (math.isfinite(config.rms_norm_eps) and config.rms_norm_eps >= 0):
        return f"rms_norm_eps is {config.rms_norm_eps}; it is a number from 0 on"
    return rope_problem(config)


def general_problem(config: PreTrainedConfig) -> str | None:
    """What no architecture may have, or None."""
    text: Any = config.get_text_config()
    if getattr(config, "quantization_config", None) is not None:
        given = config.quantization_config
        method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
        return f"quantization_config says {method or 'quantised'} weights; plain fp32, fp16 or bf16 ones are needed"
    for name in _SIZES:
        value = getattr(text, name, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            return f"{name} is {value!r}; it is a whole number above 0"
    return None
