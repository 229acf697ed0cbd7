"""What the training benchmarks share: our plain steps, and ragged chat data.  Nothing is saved on either side."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from alignment.train.loss_module import B, LossFunction
from alignment.train.optimizer import make_optimizer
from alignment.train.settings import OptimizerSettings
from benchmarks.measure import use_machine


def parse(description: str, rounds: int = 3) -> argparse.Namespace:
    """The options of every training benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=rounds)
    asked = parser.parse_args()
    use_machine(asked.threads)
    return asked


def autocast(bf16: bool) -> AbstractContextManager[object]:
    """bf16 autocast on the CPU, or nothing."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext()


def our_steps(
    model: nn.Module,
    steps: Sequence[Sequence[B]],
    loss: LossFunction[B],
    normaliser: Callable[[B], float],
    *,
    bf16: bool,
) -> Callable[[], int]:
    """Work of ours: every step's forward and backward passes, clipping and AdamW; returns the tokens trained on."""
    optimizer = make_optimizer(model, OptimizerSettings(learning_rate=1e-4))

    def work() -> int:
        tokens = 0
        for batches in steps:
            divisor = sum(normaliser(batch) for batch in batches)
            for batch in batches:
                with autocast(bf16):
                    total, _ = loss(model.train(), batch)
                (total / divisor).backward()
                tokens += batch.num_tokens
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return tokens

    return work


def ragged_chats(count: int, *, longest: int = 512, seed: int = 0) -> list[tuple[list[int], list[bool]]]:
    """Chats as token ids with their loss masks: log-normal lengths (median 180, sigma 0.7), 60 % answers."""
    draws = np.random.default_rng(seed)
    chats = []
    for _ in range(count):
        length = int(np.clip(draws.lognormal(np.log(180), 0.7), 24, longest))
        ids = [1, *draws.integers(3, 4096, size=length - 1).tolist()]
        turns = int(draws.integers(1, 4))
        edges = np.linspace(0, length, turns + 1).astype(int)
        mask = [False] * length
        for begin, end in pairwise(edges.tolist()):
            answer = begin + max(1, int(0.4 * (end - begin)))
            mask[answer:end] = [True] * (end - answer)
        chats.append((ids, mask))
    return chats
