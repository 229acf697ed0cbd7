"""Checkpoints travel both ways between the core and transformers, whole and in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from alignment.errors import CheckpointError, UsageError
from alignment.model.checkpoint import load_model, save_model
from alignment.model.llama import LlamaPolicy
from alignment.policy.policy import Policy, load_policy, save_policy
from tests.tolerances import FP32

IDS = torch.randint(0, 67, (2, 24), generator=torch.Generator().manual_seed(1))


def _config(**changes: Any) -> LlamaConfig:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaConfig(**{"vocab_size": 67, "num_key_value_heads": 2, **shape, **changes})


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS % model.config.vocab_size).logits


def test_loaded_weights_lie_as_fresh_ones_do(tmp_path: Path) -> None:
    """Safetensors maps them anywhere in the file; kernels then sum in another order than before the save."""
    saved = LlamaPolicy(_config())
    save_model(saved, tmp_path)
    loaded = load_model(tmp_path)
    assert all(parameter.data_ptr() % 64 == 0 for parameter in loaded.parameters())
    assert torch.equal(_logits(loaded), _logits(saved))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("shard", ["5GB", "8KB"], ids=["one file", "shards"])
def test_what_transformers_saves_the_core_loads(tmp_path: Path, tied: bool, shard: str) -> None:
    torch.manual_seed(0)
    peer = LlamaForCausalLM(_config(tie_word_embeddings=tied))
    peer.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "8KB")
    ours = load_model(tmp_path)
    assert isinstance(ours, LlamaPolicy)
    assert (ours.lm_head.weight is ours.model.embed_tokens.weight) == tied
    torch.testing.assert_close(_logits(ours), _logits(peer), rtol=FP32, atol=FP32)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("shard", ["5GB", "8KB"], ids=["one file", "shards"])
def test_what_the_core_saves_transformers_loads(tmp_path: Path, tied: bool, shard: str) -> None:
    torch.manual_seed(0)
    ours = LlamaPolicy(_config(tie_word_embeddings=tied))
    if shard == "5GB":
        save_model(ours, tmp_path)
    else:
        ours.save_pretrained(tmp_path, max_shard_size=shard)
    peer = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(peer) is LlamaForCausalLM
    torch.testing.assert_close(_logits(peer), _logits(ours), rtol=FP32, atol=FP32)
    assert torch.equal(_logits(load_model(tmp_path)), _logits(ours))


def test_a_saved_policy_is_a_plain_llama_checkpoint(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "p", meta={"stage": "sft"})
    config = json.loads((tmp_path / "p" / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["architectures"] == ["LlamaForCausalLM"]
    peer = AutoModelForCausalLM.from_pretrained(tmp_path / "p")
    torch.testing.assert_close(_logits(peer), _logits(policy.model), rtol=FP32, atol=FP32)
    text = "who sells the bread? 🦙"
    fast = AutoTokenizer.from_pretrained(tmp_path / "p")
    assert fast(text)["input_ids"] == policy.tokenizer.encode(text, bos=True)
    assert fast.chat_template
    again = load_policy(tmp_path / "p")
    assert again.tokenizer.sha256 == policy.tokenizer.sha256
    assert torch.equal(_logits(again.model), _logits(policy.model))


def test_a_published_policy_loads_and_verifies_from_the_hubs_cache(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "p")
    cache = tmp_path / "models--owner--name"
    snapshot = cache / "snapshots" / "0f"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for number, file in enumerate(sorted((tmp_path / "p").iterdir())):
        assert file.match("*.safetensors") or file.match("*.json") or file.match("*.jinja") or file.match("*.model")
        file.rename(cache / "blobs" / str(number))
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / str(number))
    assert torch.equal(_logits(load_policy(snapshot).model), _logits(policy.model))
    blob = (snapshot / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        load_policy(snapshot)


def test_transformers_generates_from_a_saved_policy(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "p")
    peer = AutoModelForCausalLM.from_pretrained(tmp_path / "p")
    prompt = torch.tensor([policy.tokenizer.encode("who", bos=True)])
    out = peer.generate(prompt, max_new_tokens=4, do_sample=False, eos_token_id=None)
    with torch.no_grad():
        expected = prompt
        for _ in range(4):
            best = policy.model(input_ids=expected).logits[:, -1:].argmax(-1)
            expected = torch.cat([expected, best], dim=1)
    assert out.tolist() == expected.tolist()


def test_key_value_heads_that_do_not_divide_the_heads_are_refused_before_any_weight_is_read(tmp_path: Path) -> None:
    LlamaForCausalLM(_config(num_attention_heads=4, num_key_value_heads=2)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 3}))
    with pytest.raises(UsageError, match="num_key_value_heads 3 must divide num_attention_heads 4"):
        load_model(tmp_path)


def test_an_impossible_config_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    LlamaForCausalLM(_config()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))
    with pytest.raises(CheckpointError, match=r"hidden size .*32.* is not a multiple of .*5"):
        load_model(tmp_path)
