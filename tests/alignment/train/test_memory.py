"""Bytes foretold, held against what autograd saves and what a training really takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alignment.batch.tree import Tree, make_batch
from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.policy.settings import AdapterSettings
from alignment.train.language_model import language_loss
from alignment.train.memory import ModelShape, activation_bytes, cache_bytes, trained

VOCABULARY = 400
GB = 10**9


def shape_of(size: str) -> ModelShape:
    """One of the family's."""
    return ModelShape.of(ModelSettings.model_validate({"size": size}), 32_000)


def saved_bytes(settings: ModelSettings, *, tokens: int, documents: int) -> int:
    """Bytes that autograd keeps for the backward pass of one forest, the weights left out."""
    model = new_model(settings, VOCABULARY, seed=0)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    draws, length = np.random.default_rng(0), tokens // documents
    trees = [
        Tree.sequence(draws.integers(3, VOCABULARY, length), np.ones(length, dtype=bool)) for _ in range(documents)
    ]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        language_loss(model, make_batch(trees))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize(("width", "layers", "kv_heads", "documents"), [(128, 4, 2, 8), (256, 2, 4, 16), (64, 6, 1, 4)])
def test_activations_are_what_autograd_keeps(width: int, layers: int, kv_heads: int, documents: int) -> None:
    settings = ModelSettings(size="custom", width=width, layers=layers, heads=4, kv_heads=kv_heads, context_length=512)
    counted = activation_bytes(
        ModelShape.of(settings, VOCABULARY),
        tokens=512,
        longest=512 // documents,
        precision="fp32",
        checkpointing=False,
        fused_attention=False,
    )
    logits = 2 * 4 * 512 * VOCABULARY  # two copies of them pass by, none is kept
    assert 0.9 < (counted - logits) / saved_bytes(settings, tokens=512, documents=documents) < 1.1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark is read from Linux' /proc")
@pytest.mark.slow
def test_the_peak_of_a_training_is_foretold_within_15_percent() -> None:
    """fp32 on a CPU: one forest a step, two, and with gradient checkpointing; in a process of its own."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.alignment.train.measured_memory"],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    cases = [line.split() for line in told.splitlines()]
    assert [name for name, *_ in cases] == ["one-forest", "two-forests", "checkpointing"]
    for name, measured, foretold in cases:
        assert 0.85 < int(foretold) / int(measured) < 1.15, name


def test_full_training_of_7_billion_parameters_takes_16_bytes_each_and_bf16_copies() -> None:
    shape = shape_of("7b")
    taken = trained(shape, tokens=4096, longest=4096, precision="fp32", fused_attention=True)
    assert (taken.weights + taken.gradients + taken.optimizer) / shape.parameters == 16
    copied = trained(shape, tokens=4096, longest=4096, precision="bf16", fused_attention=True)
    assert copied.weights - taken.weights == 2 * shape.parameters


def test_an_adapter_takes_gradients_and_moments_of_its_own_numbers_alone() -> None:
    shape, adapter = shape_of("7b"), AdapterSettings()
    assert shape.adapter_parameters(adapter) == 4_194_304  # LoRA on q and v, rank 8: alpaca-lora's count
    taken = trained(shape, tokens=2048, longest=2048, precision="bf16", fused_attention=True, adapter=adapter)
    assert taken.gradients == 4 * 4_194_304
    assert taken.optimizer == 8 * 4_194_304


def test_a_base_in_4_bits_lets_7_billion_parameters_be_tuned_on_24_gb() -> None:
    adapter = AdapterSettings(base_precision="nf4", targets="all-linear")
    sizes = {"tokens": 2048, "longest": 2048}
    taken = trained(
        shape_of("7b"), **sizes, precision="bf16", checkpointing=True, fused_attention=True, adapter=adapter
    )
    assert taken.peak(forests=8) < 24 * GB


def test_shards_divide_what_is_trained_and_leave_activations_and_cache() -> None:
    whole = trained(shape_of("7b"), tokens=4096, longest=4096, precision="bf16", fused_attention=True)
    share = whole.over(8)
    assert share.optimizer == -(-whole.optimizer // 8)
    assert share.activations == whole.activations


def test_checkpointing_keeps_one_layer_and_every_layers_input() -> None:
    sizes = {"tokens": 4096, "longest": 4096, "precision": "bf16", "fused_attention": True}
    plain = activation_bytes(shape_of("7b"), **sizes, checkpointing=False)  # type: ignore[arg-type]
    saving = activation_bytes(shape_of("7b"), **sizes, checkpointing=True)  # type: ignore[arg-type]
    assert saving < plain / 5


@pytest.mark.parametrize(("size", "bytes_a_token"), [("7b", 524_288), ("70b", 327_680)])
def test_a_token_of_the_cache_takes_keys_and_values_of_the_grouped_heads(size: str, bytes_a_token: int) -> None:
    assert cache_bytes(shape_of(size), positions=1, precision="bf16") == bytes_a_token


def test_a_checkpoints_configuration_gives_its_shape(tmp_path: Path) -> None:
    settings = ModelSettings(size="tiny", context_length=64)
    model = new_model(settings, VOCABULARY, seed=0)
    model.save_pretrained(tmp_path)
    assert ModelShape.read(tmp_path) == ModelShape.of(settings, VOCABULARY)
    assert ModelShape.read(tmp_path / "nowhere") is None


def test_a_hub_name_of_the_family_says_its_shape() -> None:
    assert ModelShape.named("meta-llama/Llama-2-70b-hf") == shape_of("70b")
    assert ModelShape.named("mistralai/Mistral-7B-v0.1") is None
