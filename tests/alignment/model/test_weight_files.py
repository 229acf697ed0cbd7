"""A checkpoint's files are looked at before a weight is read: no pipes, no links, no integers, no absurd sizes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, Qwen2Config, Qwen2ForCausalLM

from alignment.errors import AlignmentError, CheckpointError
from alignment.model.checkpoint import load_model, save_model
from alignment.model.llama import LlamaPolicy
from alignment.policy.foreign.meta import read_meta_checkpoint, write_meta_checkpoint
from alignment.policy.policy import Policy, load_policy, save_policy
from reward.model import RewardModel

SHAPE: dict[str, Any] = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(LlamaPolicy(LlamaConfig(**SHAPE)), tmp_path / "p")
    return tmp_path / "p"


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _set_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64, torch.float8_e4m3fn])
def test_weights_of_other_numbers_than_floating_ones_are_refused(folder: Path, dtype: torch.dtype) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    _change(folder, lambda t: t.update({name: (t[name] * 100).to(dtype)}))
    with pytest.raises(CheckpointError, match=r"up_proj\.weight holds \w+ numbers; weights are F32"):
        load_model(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["llama", "another architecture"])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, folder: Path, kind: str, bad: float) -> None:
    if kind != "llama":
        folder = tmp_path / "q"
        Qwen2ForCausalLM(Qwen2Config(**SHAPE)).save_pretrained(folder)
    load_model(folder)
    _change(folder, lambda t: t["model.norm.weight"][3:4].fill_(bad))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight holds numbers that are not finite"):
        load_model(folder)


@pytest.mark.parametrize("kind", ["llama", "another architecture"])
def test_more_layers_than_the_files_hold_are_refused_at_once(tmp_path: Path, folder: Path, kind: str) -> None:
    if kind != "llama":
        folder = tmp_path / "q"
        Qwen2ForCausalLM(Qwen2Config(**SHAPE)).save_pretrained(folder)
        _set_config(folder, layer_types=None)
    _set_config(folder, num_hidden_layers=10**6)
    with pytest.raises(CheckpointError, match=r"num_hidden_layers 1000000, the weight files hold \d+ tensors"):
        load_model(folder)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "says bitsandbytes weights"),
        ({"rope_parameters": {"rope_type": "bogus", "rope_theta": 1e4}}, "rope_type is 'bogus'"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0}}, "rope_theta is 0"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": -1.0}}, "rope_theta is -1.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_configuration_that_is_absurd_or_not_the_cores_is_refused(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    _set_config(folder, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{reason}"):
        load_model(folder)


def test_two_tensors_on_the_same_bytes_are_refused(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1)]
    header[names[0]]["data_offsets"] = header[names[1]]["data_offsets"]
    text = json.dumps(header).encode().ljust(size)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(CheckpointError, match=r"begins at byte .* it is truncated or damaged"):
        load_model(folder)


@pytest.mark.parametrize("where", ["outside", "dangling"])
def test_a_single_weight_file_that_is_a_link_out_of_its_folder_is_refused(
    folder: Path, tmp_path: Path, where: str
) -> None:
    (folder / WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    target = "elsewhere.safetensors" if where == "outside" else "nowhere.safetensors"
    (folder / WEIGHTS).symlink_to(tmp_path / target)
    with pytest.raises(CheckpointError, match="is a link that leads outside the checkpoint's folder"):
        load_model(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.model"])
@pytest.mark.parametrize("manifest", [True, False], ids=["with a manifest", "without"])
@pytest.mark.parametrize("kind", ["policy", "reward"])
@pytest.mark.timeout(60)
def test_a_pipe_in_a_checkpoint_is_refused_and_not_waited_for(
    policy: Policy, tmp_path: Path, kind: str, manifest: bool, name: str
) -> None:
    made = tmp_path / "made"
    load: Callable[[Path], object] = load_policy if kind == "policy" else RewardModel.load
    if kind == "policy":
        save_policy(policy, made)
    else:
        RewardModel.from_policy(policy, seed=0, name="safety").save(made, meta={})
    if not manifest:
        (made / "manifest.json").unlink()
    (made / name).unlink()
    os.mkfifo(made / name)
    with pytest.raises(CheckpointError, match=rf"{name} is a pipe, a socket or a device"):
        load(made)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"n_layers": 10**6}, "n_layers 1000000, the shards hold"),
        ({"dim": -8}, "makes no model"),
        ({"rope_theta": -1.0}, "makes no model"),
    ],
)
def test_absurd_params_of_metas_are_refused_at_once(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    write_meta_checkpoint(LlamaPolicy(LlamaConfig(**SHAPE)), tmp_path / "meta")
    path = tmp_path / "meta" / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AlignmentError, match=told):
        read_meta_checkpoint(tmp_path / "meta", context_length=64)


@pytest.mark.parametrize("wrong", ["integers", "nan"])
def test_metas_weights_that_are_no_finite_floating_numbers_are_refused(tmp_path: Path, wrong: str) -> None:
    write_meta_checkpoint(LlamaPolicy(LlamaConfig(**SHAPE)), tmp_path / "meta")
    path = tmp_path / "meta" / "consolidated.00.pth"
    shard = torch.load(path, weights_only=True)
    norm = shard["norm.weight"]
    shard["norm.weight"] = norm.to(torch.int32) if wrong == "integers" else norm * float("nan")
    torch.save(shard, path)
    with pytest.raises(CheckpointError, match=r"torch\.int32 numbers|not finite"):
        read_meta_checkpoint(tmp_path / "meta", context_length=64)
