"""A checkpoint that does not fit its configuration, or leads outside its folder, is refused before it is used."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, Qwen2Config, Qwen2ForCausalLM

from alignment.errors import CheckpointError
from alignment.model.checkpoint import load_model, save_model
from alignment.model.llama import LlamaPolicy
from alignment.store.manifest import write_manifest

_SHAPE = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(LlamaPolicy(LlamaConfig(**_SHAPE)), tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    LlamaPolicy(LlamaConfig(**_SHAPE)).save_pretrained(tmp_path / "s", max_shard_size="8KB")
    return tmp_path / "s"


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "change, reason",
    [
        (
            lambda t: t.pop("model.layers.1.mlp.up_proj.weight"),
            r"lacks the tensor model\.layers\.1\.mlp\.up_proj\.weight; its config\.json makes it \(48, 32\)",
        ),
        (
            lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(48, 32)}),
            r"holds the tensor model\.layers\.2\.mlp\.up_proj\.weight \(48, 32\), which a model of its config\.json",
        ),
        (
            lambda t: t.update({"model.embed_tokens.weight": torch.zeros(66, 32)}),
            r"model\.embed_tokens\.weight is \(66, 32\), its config\.json makes it \(67, 32\)",
        ),
        (lambda t: t.pop("lm_head.weight"), r"lacks the tensor lm_head\.weight"),
    ],
    ids=["missing", "extra", "wrong shape", "head missing though not tied"],
)
def test_tensors_that_do_not_fit_are_named_with_their_shapes(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], reason: str
) -> None:
    _change(folder, change)
    with pytest.raises(CheckpointError, match=reason):
        load_model(folder)


def test_an_index_that_leads_outside_the_folder_is_refused(shards: Path) -> None:
    load_model(shards)
    index = json.loads((shards / INDEX).read_text())
    (shards.parent / "outside.safetensors").write_bytes(next(shards.glob("*.safetensors")).read_bytes())
    for bad in ("../outside.safetensors", str(shards.parent / "outside.safetensors"), "..", "a/b.safetensors", 7):
        name = next(iter(index["weight_map"]))
        (shards / INDEX).write_text(json.dumps(index | {"weight_map": index["weight_map"] | {name: bad}}))
        with pytest.raises(CheckpointError, match=r"outside the checkpoint's folder|is no weight index"):
            load_model(shards)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(shards: Path) -> None:
    shard = sorted(shards.glob("*.safetensors"))[0]
    shard.rename(shards.parent / "elsewhere.safetensors")
    shard.symlink_to(shards.parent / "elsewhere.safetensors")
    with pytest.raises(CheckpointError, match="outside the checkpoint's folder"):
        load_model(shards)


def test_the_hub_caches_own_links_are_followed(shards: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "0f"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(shards.iterdir())):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / str(number))
    assert isinstance(load_model(snapshot), LlamaPolicy)


def test_a_missing_shard_is_named(shards: Path) -> None:
    gone = sorted(shards.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(CheckpointError, match=f"{gone.name} is missing"):
        load_model(shards)


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": 3}', "{", '{"weight_map": {"a": ["b"]}}'])
def test_an_index_of_rubbish_is_refused(shards: Path, text: str) -> None:
    (shards / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match="is no weight index"):
        load_model(shards)


def test_pickled_weights_are_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    (folder / WEIGHTS).unlink()
    torch.save({"lm_head.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file; pickled weights are not read"):
        load_model(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 200, -1])
def test_a_truncated_weight_file_is_refused(folder: Path, keep: int) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:keep])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_model(folder)


def test_a_header_that_claims_gigabytes_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 32) + b"{}")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_model(folder)


def test_a_flipped_bit_is_found_where_there_is_a_manifest(folder: Path) -> None:
    write_manifest(folder, kind="policy", meta={})
    load_model(folder)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 4
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        load_model(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"model_type": "no such"}', '{"model_type": "llama", "hidden_size": "x"}']
)
def test_a_configuration_of_rubbish_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(folder)


def test_a_folder_without_a_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(folder)


@pytest.mark.parametrize("path", ["no/such/folder", "/no/such", "./nosuch", "nosuch"])
def test_a_path_that_is_no_folder_is_refused(path: str) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        load_model(path)


def test_a_missing_tensor_of_another_architecture_is_refused_and_not_drawn_anew(tmp_path: Path) -> None:
    Qwen2ForCausalLM(Qwen2Config(**_SHAPE)).save_pretrained(tmp_path)
    load_model(tmp_path)
    _change(tmp_path, lambda t: t.pop("model.layers.0.self_attn.q_proj.bias"))
    with pytest.raises(CheckpointError, match=r"lacks the tensor model\.layers\.0\.self_attn\.q_proj\.bias"):
        load_model(tmp_path)


def test_a_wrong_shape_of_another_architecture_is_refused(tmp_path: Path) -> None:
    Qwen2ForCausalLM(Qwen2Config(**_SHAPE)).save_pretrained(tmp_path)
    _change(tmp_path, lambda t: t.update({"model.norm.weight": torch.zeros(31)}))
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json.*"):
        load_model(tmp_path)


def test_the_wanted_dtype_is_loaded(folder: Path) -> None:
    assert load_model(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load_model(folder).dtype == torch.float32


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"max_new_tokens": -5}', '{"save_pretrained": 1}', '{"watermarking_config": {"a": 1}}']
)
def test_a_generation_config_that_cannot_be_used_is_refused_by_name(folder: Path, text: str) -> None:
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"p/generation_config\.json cannot be used"):
        load_model(folder)


def test_a_published_generation_config_that_transformers_only_warns_about_loads_and_is_saved(
    folder: Path, tmp_path: Path
) -> None:
    said = {"do_sample": False, "temperature": 0.9, "top_p": 0.6, "_from_model_config": True}  # Llama 2 at first
    (folder / "generation_config.json").write_text(json.dumps(said))
    save_model(load_model(folder), tmp_path / "again")
    again = load_model(tmp_path / "again")
    assert again.generation_config is not None
    assert (again.generation_config.temperature, again.generation_config.do_sample) == (0.9, True)
