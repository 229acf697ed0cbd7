"""A configuration that the core would compute as another model, or not at all, is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from alignment.errors import UsageError
from alignment.model.llama import LlamaPolicy
from alignment.model.rotary import rotary_table

SHAPE: dict[str, Any] = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def _rope(**rope: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10_000.0, **rope}}


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; the core computes 'silu' alone"),
        ({"attention_dropout": 0.1}, "attention_dropout is 0.1"),
        ({"vocab_size": -1}, "vocab_size is -1; it is a whole number above 0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"intermediate_size": -3}, "intermediate_size is -3"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
        ({"head_dim": 5}, "head_dim is 5; rotary embeddings turn pairs"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
        (_rope(rope_type="bogus"), "rope_type is 'bogus'; it is one of default, linear"),
        (_rope(rope_type="default", rope_theta=0), "rope_theta is 0"),
        (_rope(rope_type="default", rope_theta=-1.0), "rope_theta is -1.0"),
        (_rope(rope_type="linear", factor=0.0), "give angles that are not finite"),
        (_rope(rope_type="linear"), "give no linear angles"),
        (_rope(rope_type="linear", factor=2.0, partial_rotary_factor=0.5), "turn a part of each head only"),
        (_rope(rope_type="longrope", short_factor=[1.0] * 4, long_factor=[0.0] * 4), "not finite"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(";")[0][:40],
)
def test_what_the_core_does_not_compute_is_refused(changes: dict[str, Any], reason: str) -> None:
    config = LlamaConfig(**SHAPE)
    for name, value in changes.items():  # afterwards: transformers itself refuses some, in other words
        setattr(config, name, value)
    with pytest.raises(UsageError) as caught:
        LlamaPolicy(config)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["silu", "swish"])
def test_both_names_of_its_activation_are_taken(name: str) -> None:
    config = LlamaConfig(**{**SHAPE, "hidden_act": name})
    assert LlamaPolicy(config).config.hidden_act == name


def test_a_model_can_be_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = LlamaPolicy(LlamaConfig(**SHAPE, **_rope(rope_type="dynamic", factor=4.0)))
    assert model.lm_head.weight.is_meta


LONG = [4.0 + i for i in range(4)]
BY_LENGTH = {
    "dynamic": _rope(rope_type="dynamic", factor=4.0),
    "longrope": _rope(
        rope_type="longrope", short_factor=[1.0] * 4, long_factor=LONG, original_max_position_embeddings=64, factor=4.0
    ),
}


@pytest.mark.parametrize("kind", BY_LENGTH)
def test_a_forest_beyond_the_original_length_is_refused_where_angles_go_by_the_length(kind: str) -> None:
    config = LlamaConfig(**SHAPE, **BY_LENGTH[kind])
    rotary_table(config, torch.arange(64), torch.float32)
    with pytest.raises(UsageError, match=rf"rope_type {kind} .* position 64 cannot be computed"):
        rotary_table(config, torch.arange(65), torch.float32)


def test_a_scaling_that_does_not_go_by_the_length_takes_any_position() -> None:
    config = LlamaConfig(**SHAPE, **_rope(rope_type="linear", factor=4.0))
    cos, _ = rotary_table(config, torch.arange(1000), torch.float32)
    assert cos.shape == (1000, 1, 4)
