"""Peak memory of SFT steps at a vocabulary of 32,000 and 4,096 tokens, against the plain loss over all logits.

    python -m benchmarks.memory [--bf16] [--threads 2]

Each side runs in a process of its own; the figure is the growth of its peak resident memory over the loaded model.
The ratio is ours over the peer's: below 1 we need less.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import torch
from torch import nn
from transformers import LlamaForCausalLM

from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.train.language_model import language_loss, num_targets
from benchmarks.measure import benchmark_config, print_result, use_machine
from benchmarks.training import autocast, our_steps

VOCABULARY, TOKENS = 32_000, 4096


def peak_mib() -> float:
    """Peak resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_side(side: str, bf16: bool) -> None:
    """Two steps of one side; prints the growth of the peak."""
    torch.manual_seed(0)
    config = benchmark_config(TOKENS)
    config.vocab_size = VOCABULARY
    ids = torch.randint(3, VOCABULARY, (1, TOKENS))
    if side == "ours":
        batch = make_batch([Tree.sequence(ids[0].tolist(), [False] + [True] * (TOKENS - 1))])
        work = our_steps(LlamaPolicy(config), [[batch], [batch]], language_loss, num_targets, bf16=bf16)
        before = peak_mib()
        work()
    else:
        model = LlamaForCausalLM(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        before = peak_mib()
        for _ in range(2):
            with autocast(bf16):
                logits = model(ids).logits[0, :-1].float()
                loss = nn.functional.cross_entropy(logits, ids[0, 1:])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    print(json.dumps({"mib": peak_mib() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    use_machine(asked.threads)
    if asked.side:
        run_side(asked.side, asked.bf16)
        return
    found = {}
    for side in ("ours", "peer"):
        command = [sys.executable, "-m", "benchmarks.memory", "--side", side, "--threads", str(asked.threads)]
        ended = subprocess.run(command + ["--bf16"] * asked.bf16, check=True, capture_output=True, text=True)
        found[side] = json.loads(ended.stdout.splitlines()[-1])["mib"]
    # print_result divides ours by the peer's; here less is better
    print_result(
        "peak memory of SFT, vocabulary 32,000, 4,096 tokens (ratio: ours over the peer's)",
        "bf16" if asked.bf16 else "fp32",
        "MiB",
        found["ours"],
        found["peer"],
    )


if __name__ == "__main__":
    main()
