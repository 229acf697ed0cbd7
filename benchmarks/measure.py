"""Us and the peer in turn, in one process, on the same work."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from transformers import LlamaConfig

from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings

Work = Callable[[], int]  # does the work once; returns how many units it did


def benchmark_config(context: int = 512) -> LlamaConfig:
    """The shape of all benchmarks: 7.7 M parameters."""
    return LlamaConfig(
        vocab_size=4096,
        hidden_size=288,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=768,
        max_position_embeddings=context,
        tie_word_embeddings=False,
    )


def use_machine(threads: int) -> None:
    """Threads and memory as our stages set them; the peer has the same, since both run in one process."""
    resolve_compute(ComputeSettings(threads=threads))


def rate(work: Work) -> float:
    """Units a second of one run."""
    start = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - start)


def in_turn(ours: Work, peer: Work, rounds: int) -> tuple[float, float]:
    """Median rates of us and the peer; each warms up once and then runs `rounds` times, one after the other."""
    medians = rates_in_turn({"ours": lambda: rate(ours), "peer": lambda: rate(peer)}, rounds)
    return medians["ours"], medians["peer"]


def rates_in_turn(sides: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = True) -> dict[str, float]:
    """Median rate of each side; each call is a round that measures itself.

    Args:
        warm: each has a first round that is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(0 if warm else 1, rounds + 1):
        for name, side in sides.items():
            measured = side()
            if turn:
                rates[name].append(measured)
                print(f"round {turn}: {name} {measured:,.{0 if measured >= 100 else 2}f}", file=sys.stderr, flush=True)
    return {name: statistics.median(measured) for name, measured in rates.items()}


def print_result(work: str, precision: str, unit: str, ours: float, peer: float) -> None:
    """The last line: JSON."""
    result = {
        "work": work,
        "precision": precision,
        "unit": unit,
        "ours": round(ours, 1 if ours >= 100 else 2),
        "peer": round(peer, 1 if peer >= 100 else 2),
        "ratio": round(ours / peer, 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result), flush=True)
