"""Pretraining on full blocks of 512 tokens against a compiled plain loop over transformers' Llama.

    python -m benchmarks.pretrain [--bf16] [--threads 2] [--rounds 3]

The last line also gives our share of the matrix rate that this machine reaches (`gemm_share`).
"""

from __future__ import annotations

import json
import time

import torch
from torch import nn
from transformers import LlamaForCausalLM

from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.train.language_model import language_loss, num_targets
from benchmarks.measure import Work, benchmark_config, in_turn, print_result, use_machine
from benchmarks.training import autocast, our_steps, parse

BLOCK, BLOCKS, STEPS = 512, 8, 3
OURS, PEERS = 8, 4  # blocks a forward pass, each side's best of 1, 2, 4 and 8
FLOPS_PER_TOKEN = 44.2e6  # 6 x matrix weights + causal attention at 512 tokens


def gemm_rate(bf16: bool) -> float:
    """FLOP/s of a large matrix product, the median of nine."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    times = []
    for _ in range(9):
        began = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - began)
    return 2 * 2048**3 / sorted(times)[4]


def both_sides(*, bf16: bool, threads: int | None) -> tuple[Work, Work]:
    """Our steps and the compiled loop on the same blocks.

    Args:
        threads: the process is set up as our stages set it up; None leaves it as a plain script finds it.
    """
    if threads is not None:
        use_machine(threads)
    torch.manual_seed(0)
    blocks = torch.randint(3, 4096, (STEPS, BLOCKS, BLOCK))
    mask = [False] + [True] * (BLOCK - 1)
    steps = [
        [make_batch([Tree.sequence(block.tolist(), mask) for block in part]) for part in step.split(OURS)]
        for step in blocks
    ]
    ours = our_steps(LlamaPolicy(benchmark_config()), steps, language_loss, num_targets, bf16=bf16)

    theirs = LlamaForCausalLM(benchmark_config()).train()
    compiled = torch.compile(theirs)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)

    def loop() -> int:
        for step in blocks:
            for part in step.split(PEERS):
                with autocast(bf16):
                    logits = compiled(part).logits[:, :-1].float()
                    loss = nn.functional.cross_entropy(logits.reshape(-1, 4096), part[:, 1:].reshape(-1))
                (loss / (BLOCKS // PEERS)).backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return blocks.numel()

    return ours, loop


def main() -> None:
    asked = parse(__doc__.splitlines()[0])
    result = in_turn(*both_sides(bf16=asked.bf16, threads=asked.threads), asked.rounds)
    ceiling = gemm_rate(asked.bf16)
    print(
        json.dumps({"gemm_gflops": round(ceiling / 1e9), "gemm_share": round(result[0] * FLOPS_PER_TOKEN / ceiling, 2)})
    )
    print_result("pretraining on full blocks", "bf16" if asked.bf16 else "fp32", "tokens/s", *result)


if __name__ == "__main__":
    main()
