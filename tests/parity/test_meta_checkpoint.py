"""Meta's checkpoints in and out, against transformers' own conversion of the same weights."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from alignment.errors import CheckpointError
from alignment.model.checkpoint import new_model
from alignment.model.llama import LlamaPolicy
from alignment.model.settings import ModelSettings
from alignment.policy.foreign.meta import read_meta_checkpoint, write_meta_checkpoint
from alignment.policy.policy import Policy, load_policy

TOKENS = torch.tensor([[1, 5, 9, 30, 17, 4]])


@pytest.fixture
def model() -> LlamaPolicy:
    settings = ModelSettings(size="custom", width=32, layers=2, heads=4, kv_heads=2, multiple_of=16, context_length=64)
    return new_model(settings, 60, seed=0)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_round_trip_is_bit_exact(model: LlamaPolicy, tmp_path: Path, shards: int) -> None:
    write_meta_checkpoint(model, tmp_path / "meta", num_shards=shards)
    assert len(list((tmp_path / "meta").glob("consolidated.*.pth"))) == shards
    again = read_meta_checkpoint(tmp_path / "meta", context_length=64)
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)


def test_metas_rotary_order_rotates_neighbours(model: LlamaPolicy, tmp_path: Path) -> None:
    """The queries of Meta's weights, rotated as Meta's code does, give the attention scores of ours."""
    write_meta_checkpoint(model, tmp_path / "meta")
    theirs = torch.load(tmp_path / "meta" / "consolidated.00.pth", weights_only=True)
    hidden = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    angles = torch.outer(torch.arange(6.0), 1.0 / 10_000.0 ** (torch.arange(0, 8, 2) / 8))
    turn = torch.polar(torch.ones_like(angles), angles)[:, None, :]

    def rotated(weight: torch.Tensor, heads: int) -> torch.Tensor:
        pairs = torch.view_as_complex((hidden @ weight.T).view(6, heads, 4, 2))
        return torch.view_as_real(pairs * turn).flatten(2)

    query = rotated(theirs["layers.0.attention.wq.weight"], 4)
    key = rotated(theirs["layers.0.attention.wk.weight"], 2).repeat_interleave(2, dim=1)
    expected = torch.einsum("qhd,khd->hqk", query, key)

    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    attention = model.model.layers[0].self_attn
    q = (hidden @ attention.q_proj.weight.T).view(1, 6, 4, 8).transpose(1, 2)
    k = (hidden @ attention.k_proj.weight.T).view(1, 6, 2, 8).transpose(1, 2)
    both = torch.cat([angles, angles], dim=-1)[None]
    q, k = apply_rotary_pos_emb(q, k, both.cos(), both.sin())
    found = torch.einsum("hqd,hkd->hqk", q[0], k[0].repeat_interleave(2, dim=0))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_what_was_read_is_a_llama_for_transformers(model: LlamaPolicy, tmp_path: Path) -> None:
    write_meta_checkpoint(model, tmp_path / "meta")
    read_meta_checkpoint(tmp_path / "meta", context_length=64).save_pretrained(tmp_path / "hf")
    twin = LlamaForCausalLM.from_pretrained(tmp_path / "hf")
    torch.testing.assert_close(twin(TOKENS).logits, model(TOKENS).logits, rtol=1e-4, atol=1e-5)


def test_a_folder_of_metas_with_its_tokenizer_is_a_policy(policy: Policy, tmp_path: Path) -> None:
    model = policy.model
    assert isinstance(model, LlamaPolicy)
    write_meta_checkpoint(model, tmp_path / "meta")
    (tmp_path / "meta" / "tokenizer.model").write_bytes(policy.tokenizer.model_bytes)
    loaded = load_policy(tmp_path / "meta")
    torch.testing.assert_close(loaded.model(TOKENS).logits, model(TOKENS).logits, rtol=1e-5, atol=1e-6)


def shard_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "consolidated.00.pth", weights_only=True))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda shard: shard.pop("layers.1.attention.wo.weight"), r"lacks model\.layers\.1\.self_attn\.o_proj"),
        (lambda shard: shard.update({"layers.0.evil.weight": torch.zeros(2)}), r"layers\.0\.evil\.weight \(2,\)"),
        (
            lambda shard: shard.update({"norm.weight": torch.zeros(3)}),
            r"norm\.weight is \(3,\), params\.json says \(32,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(model: LlamaPolicy, tmp_path: Path, change: object, told: str) -> None:
    folder = tmp_path / "meta"
    write_meta_checkpoint(model, folder)
    shard = shard_of(folder)
    change(shard)  # type: ignore[operator]
    torch.save(shard, folder / "consolidated.00.pth")
    with pytest.raises(CheckpointError, match=told):
        read_meta_checkpoint(folder, context_length=64)


class Evil:
    """Runs when it is unpickled without `weights_only`."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.canary,))


@pytest.mark.parametrize("plain", [True, False])
def test_a_shard_with_anything_but_tensors_is_refused_and_not_run(
    model: LlamaPolicy, tmp_path: Path, plain: bool
) -> None:
    folder, canary = tmp_path / "meta", tmp_path / "canary"
    write_meta_checkpoint(model, folder)
    path = folder / "consolidated.00.pth"
    if plain:
        path.write_bytes(pickle.dumps({"norm.weight": Evil(canary)}))
    else:
        torch.save({"norm.weight": Evil(canary)}, path)
    with pytest.raises(CheckpointError, match=r"consolidated\.00\.pth"):
        read_meta_checkpoint(folder)
    assert not canary.exists()


def test_heads_that_cannot_be_shared_are_refused(model: LlamaPolicy, tmp_path: Path) -> None:
    write_meta_checkpoint(model, tmp_path / "meta")
    path = tmp_path / "meta" / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_kv_heads": 3}))
    with pytest.raises(CheckpointError, match="n_kv_heads 3 does not divide n_heads 4"):
        read_meta_checkpoint(tmp_path / "meta")


def test_a_missing_rank_is_named(model: LlamaPolicy, tmp_path: Path) -> None:
    write_meta_checkpoint(model, tmp_path / "meta", num_shards=2)
    (tmp_path / "meta" / "consolidated.00.pth").unlink()
    with pytest.raises(CheckpointError, match="ranks 01"):
        read_meta_checkpoint(tmp_path / "meta")


@pytest.mark.parametrize("size", ["7b", "13b", "34b", "70b"])
def test_the_written_rule_gives_metas_feed_forward_widths(size: str) -> None:
    from alignment.model.checkpoint import meta_model
    from alignment.model.settings import feed_forward_width
    from alignment.policy.foreign.meta import _params

    config = meta_model(ModelSettings(size=size), 32_000).config  # type: ignore[arg-type]
    params = _params(config)  # type: ignore[arg-type]
    rule = feed_forward_width(params["dim"], params["multiple_of"], params.get("ffn_dim_multiplier"))
    assert rule == config.intermediate_size
