"""The core in the wrappers that people train with: torch.compile and FSDP2 give the plain step's result."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import LlamaConfig

from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.train.compute import compile_layers
from alignment.train.language_model import language_loss
from tests.tolerances import FP32_SAME_CODE

pytestmark = pytest.mark.slow  # compiles, and starts processes

ROOT = Path(__file__).resolve().parents[2]


def tiny_model() -> LlamaPolicy:
    """Three layers, grouped heads, random weights."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    return LlamaPolicy(LlamaConfig(vocab_size=61, num_key_value_heads=2, max_position_embeddings=128, **shape))


def ragged_batch(seed: int) -> ForestBatch:
    """Four sequences of random lengths."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 20, (4,), generator=draw).tolist()
    return make_batch(
        [
            Tree.sequence(torch.randint(3, 61, (n,), generator=draw).tolist(), [False] + [True] * (n - 1))
            for n in lengths
        ]
    )


def test_a_compiled_training_step_is_the_plain_one_and_is_compiled_once() -> None:
    plain, compiled = tiny_model(), tiny_model()
    compile_layers(compiled)
    graphs = 0
    for seed in range(4):
        batch = ragged_batch(seed)
        losses = []
        for model in (plain, compiled):
            model.zero_grad()
            loss, _ = language_loss(model, batch)
            loss.backward()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=FP32_SAME_CODE)
        for ours, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-4, atol=1e-5)
        if seed == 0:
            graphs = counters["stats"]["unique_graphs"]
            assert graphs > 0
    assert counters["stats"]["unique_graphs"] == graphs  # other forests and other layers compile nothing more


def run_sharded() -> None:
    """What each of the two processes does: three steps, sharded and plain, compared after each."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from alignment.train.compute import Compute
    from alignment.train.trainer import LossModule

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    plain = tiny_model()
    model = deepcopy(plain)
    module = LossModule(model, language_loss, Compute(device=torch.device("cpu"), autocast_dtype=None))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    own, reference = (torch.optim.AdamW(which.parameters(), lr=1e-2) for which in (model, plain))
    for step in range(3):
        batches = [ragged_batch(10 * step + rank) for rank in range(dist.get_world_size())]
        module(batches[dist.get_rank()])[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        own.step()
        own.zero_grad()
        mean = torch.stack([language_loss(plain, batch)[0] for batch in batches]).mean()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        reference.step()
        reference.zero_grad()
        for sharded, whole in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(sharded.full_tensor(), whole.detach(), rtol=1e-4, atol=1e-6)  # type: ignore[operator]
    dist.destroy_process_group()


def test_sharded_over_two_processes_by_fsdp2_the_steps_are_the_plain_ones() -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "tests.parity.test_wrapping",
    ]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


if __name__ == "__main__":
    run_sharded()
