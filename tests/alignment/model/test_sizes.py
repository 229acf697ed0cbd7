"""The named sizes are the paper's, to the parameter (Llama 2 paper, table 1; Meta's params.json)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from alignment.model.checkpoint import count_parameters, meta_model, new_model
from alignment.model.settings import ModelSettings, feed_forward_width

# size -> width, layers, heads, key/value heads, feed-forward width, parameters with 32,000 pieces
PAPER = {
    "7b": (4096, 32, 32, 32, 11008, 6_738_415_616),
    "13b": (5120, 40, 40, 40, 13824, 13_015_864_320),
    "34b": (8192, 48, 64, 8, 22016, 33_743_970_304),
    "70b": (8192, 80, 64, 8, 28672, 68_976_648_192),
}


@pytest.mark.parametrize("size", PAPER)
def test_a_named_size_has_the_papers_shape_and_parameters(size: str) -> None:
    model = meta_model(ModelSettings.model_validate({"size": size}), 32_000)
    config = model.config
    shape = (
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.intermediate_size,
    )
    assert (*shape, count_parameters(model)) == PAPER[size]
    assert all(parameter.device.type == "meta" for parameter in model.parameters())
    assert (config.rms_norm_eps, config.max_position_embeddings) == (1e-5, 4096)
    assert config.rope_parameters["rope_theta"] == 10_000.0
    assert not config.tie_word_embeddings


@pytest.mark.parametrize(
    "width, multiple_of, multiplier, expected",
    [
        (4096, 256, None, 11008),
        (5120, 256, None, 13824),
        (6656, 256, None, 17920),
        (8192, 256, None, 22016),
        (8192, 256, 1.0, 22016),
        (8192, 4096, 1.3, 28672),
        (96, 256, None, 256),  # an exact multiple stays: int(2 * 384 / 3) = 256
    ],
)
def test_the_feed_forward_width_follows_metas_rule(
    width: int, multiple_of: int, multiplier: float | None, expected: int
) -> None:
    assert feed_forward_width(width, multiple_of, multiplier) == expected


def test_the_llama1_sizes_follow_from_the_same_rule() -> None:
    for width, layers, heads, expected in ((6656, 60, 52, 32_528_943_616), (8192, 80, 64, 65_285_660_672)):
        shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": heads, "multiple_of": 256}
        settings = ModelSettings.model_validate({"size": "custom", **shape})
        assert count_parameters(meta_model(settings, 32_000)) == expected


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    import torch

    def weights(seed: int) -> torch.Tensor:
        model = new_model(ModelSettings(size="tiny"), 300, seed=seed)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    first = weights(1)
    torch.rand(7)
    state = torch.get_rng_state()
    assert torch.equal(first, weights(1))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, weights(2))


def test_fresh_weights_have_the_stated_spread() -> None:
    settings = ModelSettings(size="custom", width=256, layers=8, heads=4, kv_heads=4)
    model = new_model(settings, 2000, seed=0)
    assert float(model.model.embed_tokens.weight.detach().std()) == pytest.approx(0.02, rel=0.01)
    layer = model.model.layers[3]
    assert float(layer.self_attn.q_proj.weight.detach().std()) == pytest.approx(0.02, rel=0.01)
    assert float(layer.self_attn.o_proj.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.01)
    assert float(layer.mlp.down_proj.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.01)
    assert layer.input_layernorm.weight.unique().tolist() == [1.0]


def test_tied_embeddings_are_counted_once() -> None:
    tied = meta_model(ModelSettings(size="tiny", tie_embeddings=True), 300)
    untied = meta_model(ModelSettings(size="tiny"), 300)
    assert count_parameters(untied) - count_parameters(tied) == 300 * 32


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"size": "custom", "width": 64}, "custom needs layers, heads, kv_heads"),
        ({"size": "7b", "width": 64}, "width need size: custom; size is 7b"),
        ({"size": "custom", "width": 60, "layers": 1, "heads": 8, "kv_heads": 8}, "heads 8 must divide width 60"),
        ({"size": "custom", "width": 24, "layers": 1, "heads": 8, "kv_heads": 8}, "into even head widths"),
        ({"size": "custom", "width": 64, "layers": 1, "heads": 8, "kv_heads": 3}, "kv_heads 3 must divide heads 8"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ModelSettings.model_validate(fields)
