"""Training steps in bf16 and in fp32, by model size: what `precision: auto` decides by.

    python -m benchmarks.precision [--threads 2] [--rounds 5] [--sizes 1 4 ...]

Prints a row a size: parameters in millions, tokens a second in fp32 and in bf16, and their ratio; then the processor
and those of its instructions that compute in bf16.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from transformers import LlamaConfig

from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.train.compute import bf16_instructions, processor_name
from alignment.train.language_model import language_loss, num_targets
from benchmarks.measure import in_turn, use_machine
from benchmarks.training import our_steps

# parameters in millions, roughly -> width, layers, heads, key/value heads, vocabulary
SHAPES = {
    "1": (128, 4, 4, 2, 1024),
    "4": (256, 4, 4, 2, 2048),
    "8": (288, 6, 6, 2, 4096),
    "20": (448, 7, 7, 7, 4096),
    "60": (768, 8, 12, 4, 4096),
}
BLOCK, BLOCKS = 512, 4


def work_in(precision: str, shape: tuple[int, int, int, int, int]) -> Callable[[], int]:
    """One step of 2,048 tokens of a model of this shape."""
    width, layers, heads, kv_heads, vocabulary = shape
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=32 * round(8 * width / 3 / 32),
        max_position_embeddings=BLOCK,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    mask = [False] + [True] * (BLOCK - 1)
    batch = make_batch([Tree.sequence(torch.randint(3, vocabulary, (BLOCK,)).tolist(), mask) for _ in range(BLOCKS)])
    return our_steps(LlamaPolicy(config), [[batch]], language_loss, num_targets, bf16=precision == "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    asked = parser.parse_args()
    use_machine(asked.threads)
    for size in asked.sizes:
        half, full = in_turn(work_in("bf16", SHAPES[size]), work_in("fp32", SHAPES[size]), asked.rounds)
        row = {"millions": int(size), "fp32": round(full), "bf16": round(half), "ratio": round(half / full, 2)}
        print(json.dumps(row), flush=True)
    found = {"processor": processor_name(), "bf16": bf16_instructions(), "threads": torch.get_num_threads()}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
