"""Where a training step's time goes: each part of the core forward and backward, alone, at the benchmarks' shape.

    python -m benchmarks.breakdown [--bf16] [--threads 2] [--rounds 9]

Prints milliseconds of a forward and backward pass over eight blocks of 512 tokens, and the bare matrix
products of the same shapes: the least that the step could take at the matrix rate of this machine.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from alignment.batch.tree import Tree, make_batch
from alignment.model.attention import forest_attention, plan_attention
from alignment.model.llama import Block, LlamaPolicy, rotary_table
from alignment.model.log_probs import summed_log_probs
from alignment.model.pointwise import rotate
from alignment.train.language_model import language_loss
from benchmarks.measure import benchmark_config
from benchmarks.training import autocast, parse

BLOCK, BLOCKS = 512, 8


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """The median of some rounds after a warm-up."""
    times = []
    for turn in range(rounds + 1):
        began = time.perf_counter()
        work()
        if turn:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    asked = parse(__doc__.splitlines()[0], rounds=9)
    torch.manual_seed(0)
    config = benchmark_config()
    model = LlamaPolicy(config).train()
    mask = [False] + [True] * (BLOCK - 1)
    batch = make_batch([Tree.sequence(torch.randint(3, 4096, (BLOCK,)).tolist(), mask) for _ in range(BLOCKS)])
    fused = plan_attention(batch.forest, backend="sdpa")
    plan, tokens, width = batch.plan(), BLOCK * BLOCKS, int(config.hidden_size or 0)
    heads, kv_heads, layers = config.num_attention_heads, int(config.num_key_value_heads or 0), len(model.model.layers)
    dtype = torch.bfloat16 if asked.bf16 else torch.float32
    layer = model.model.layers[0]
    assert isinstance(layer, Block)
    cos, sin = rotary_table(config, plan.positions, torch.float32)

    def leaf(*shape: int, of: torch.dtype = dtype) -> Tensor:
        return torch.randn(shape).to(of).requires_grad_()

    def both_ways(forward: Callable[[], Tensor]) -> float:
        def work() -> None:
            with autocast(asked.bf16):
                out = forward()
            out.backward(torch.ones_like(out))
            model.zero_grad(set_to_none=True)

        return milliseconds(work, asked.rounds)

    def products(inside: int, outside: int) -> float:
        x, w, g = (torch.randn(*shape).to(dtype) for shape in ((tokens, inside), (outside, inside), (tokens, outside)))
        return milliseconds(lambda: (x @ w.t(), g @ w, g.t() @ x), asked.rounds)

    def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return forest_attention(query, key, value, plan)

    stream, narrow = leaf(tokens, width, of=torch.float32), leaf(tokens, width)
    query, key, value = (leaf(tokens, count, width // heads) for count in (heads, kv_heads, kv_heads))
    targets = torch.zeros(tokens, dtype=torch.int64)
    kv_width, hidden = width * kv_heads // heads, int(config.intermediate_size or 0)
    bare_layer = 2 * products(width, width) + 2 * products(width, kv_width) + 3 * products(width, hidden)
    found = {
        "whole step without the optimizer": both_ways(lambda: language_loss(model, batch)[0]),
        "decoder layers": layers * both_ways(lambda: layer(stream, cos, sin, attend)),
        "  their matrix products alone": layers * bare_layer,
        "  attention": layers * both_ways(lambda: forest_attention(query, key, value, plan)),
        "  attention by torch's fused kernel instead": layers
        * both_ways(lambda: forest_attention(query, key, value, fused)),
        "  feed-forward, products included": layers * both_ways(lambda: layer.mlp(narrow)),
        "  norms": 2 * layers * both_ways(lambda: layer.input_layernorm(stream)),
        "  rotation of queries": layers * both_ways(lambda: rotate(query, cos, sin)),
        "vocabulary projection and loss": both_ways(lambda: summed_log_probs(stream, model.lm_head.weight, targets)),
        "  its matrix products alone": products(width, int(config.vocab_size or 0)),
    }
    for name, value_ms in found.items():
        print(f"{name:44s} {value_ms:8.1f} ms  {value_ms / found['whole step without the optimizer']:5.0%}")
    print(json.dumps({"precision": "bf16" if asked.bf16 else "fp32", "tokens": tokens, "milliseconds": found}))


if __name__ == "__main__":
    main()
