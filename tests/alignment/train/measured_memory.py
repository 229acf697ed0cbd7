"""A training in a process of its own: prints by how many bytes its memory rose at most, and what was foretold.

python -m tests.alignment.train.measured_memory
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import torch

from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.train import compute as compute_module
from alignment.train.language_model import language_loss
from alignment.train.memory import ModelShape, trained
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings, LoopSettings
from alignment.train.trainer import Training, train

# name -> forests a step, gradient checkpointing
CASES = {"one-forest": (1, False), "two-forests": (2, False), "checkpointing": (1, True)}
VOCABULARY, TOKENS, DOCUMENTS = 2000, 2048, 8


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def forest(seed: int) -> ForestBatch:
    """`TOKENS` random tokens, every one a target."""
    draws = np.random.default_rng(seed)
    length = TOKENS // DOCUMENTS
    trees = [
        Tree.sequence(draws.integers(3, VOCABULARY, length), np.ones(length, dtype=bool)) for _ in range(DOCUMENTS)
    ]
    return make_batch(trees)


def train_once(shape: ModelSettings, forests: int, folder: Path) -> int:
    """Train for two steps; by how many bytes the process' memory rose at most."""
    compute = ComputeSettings(precision="fp32", threads=1)
    batches = [forest(seed) for seed in range(forests)]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
    before = _kib("VmRSS")
    training = Training(
        model=new_model(shape, VOCABULARY, seed=0),
        num_steps=2,
        batches=lambda step: batches,
        loss=language_loss,
        normaliser=lambda batch: float(len(batch.targets)),
    )
    train(training, LoopSettings(save_every=1000), Session(folder=folder, seed=0, fingerprint="f", compute=compute))
    return (_kib("VmHWM") - before) * 1024


def main() -> None:
    """Print `case measured foretold` of each case, in bytes above what stood before the model."""
    torch.set_num_threads(1)
    compute_module.settle = lambda threads: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        # once on a model of no size, so that what torch itself takes at first use is not counted
        train_once(ModelSettings(size="tiny", context_length=TOKENS), 1, Path(folder) / "tiny")
        for name, (forests, checkpointing) in CASES.items():
            shape = ModelSettings(
                size="custom",
                width=384,
                layers=4,
                heads=8,
                kv_heads=4,
                context_length=TOKENS,
                gradient_checkpointing=checkpointing,
            )
            foretold = trained(
                ModelShape.of(shape, VOCABULARY),
                tokens=TOKENS,
                longest=TOKENS // DOCUMENTS,
                precision="fp32",
                checkpointing=checkpointing,
            ).peak(forests=forests)
            print(name, train_once(shape, forests, Path(folder) / name), foretold)


if __name__ == "__main__":
    main()
