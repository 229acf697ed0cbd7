"""A model of 1.1 billion parameters on one GPU in bf16, us and transformers in turn: fine-tuning and sampling.

    python -m benchmarks.cuda [--rounds 3] [--work sft-sdpa sft-flex sampling] [--small]

SFT: ragged chats of 24 to 2,048 tokens, loss on answers; ours packs them into forests of 8,192 tokens, the peer pads
batches of like length (8 rows, sorted) as a plain loop over `LlamaForCausalLM` with its fused attention does.  Both
keep fp32 weights under bf16 autocast and take AdamW steps.  Real tokens count.
Sampling: 64 rows, prompts of 64 tokens, exponential lengths (mean 96, at most 256), weights in bf16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from alignment.batch.steps import pack
from alignment.batch.tree import Tree, make_batch
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.attention import prefer_backend
from alignment.model.llama import LlamaPolicy
from alignment.train.language_model import language_loss
from alignment.train.optimizer import make_optimizer
from alignment.train.settings import OptimizerSettings
from benchmarks.measure import in_turn, print_result
from benchmarks.sampling import AtLength, FixedLengths
from benchmarks.training import ragged_chats

DEVICE = torch.device("cuda")
ROWS, PROMPT = 64, 64


def config(small: bool) -> LlamaConfig:
    """TinyLlama's shape, or one for trying the benchmark out."""
    width, layers, heads, kv_heads, hidden = (256, 4, 4, 2, 704) if small else (2048, 22, 32, 4, 5632)
    return LlamaConfig(
        vocab_size=32000,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )


def stepping(model: nn.Module, losses: Sequence[Callable[[], torch.Tensor]], tokens: int) -> Callable[[], int]:
    """Work: a gradient step for each loss, and the tokens that all of them train on."""
    optimizer = make_optimizer(model, OptimizerSettings(learning_rate=1e-5))

    def work() -> int:
        for loss in losses:
            with torch.autocast("cuda", dtype=torch.bfloat16):
                value = loss()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return tokens

    return work


def our_sft(model: LlamaPolicy, chats: Sequence[tuple[list[int], list[bool]]]) -> Callable[[], int]:
    """Packed forests."""
    trees = [Tree.sequence(ids, mask) for ids, mask in chats]
    batches = [make_batch([trees[i] for i in bin_]).to(DEVICE) for bin_ in pack(trees, 8192)]
    model.train()
    losses = [lambda b=batch: language_loss(model, b)[0] / b.num_targets for batch in batches]
    return stepping(model, losses, sum(len(ids) for ids, _ in chats))


def peer_sft(model: LlamaForCausalLM, chats: Sequence[tuple[list[int], list[bool]]]) -> Callable[[], int]:
    """Padded batches of like length."""
    ordered = sorted(chats, key=lambda chat: len(chat[0]))
    losses = []
    for start in range(0, len(ordered), 8):
        rows = ordered[start : start + 8]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, (tokens, trained) in enumerate(rows):
            there = torch.tensor(tokens)
            ids[row, : len(tokens)], mask[row, : len(tokens)] = there, 1
            labels[row, : len(tokens)] = torch.where(torch.tensor(trained), there, -100)
        batch = {"input_ids": ids.to(DEVICE), "attention_mask": mask.to(DEVICE), "labels": labels.to(DEVICE)}
        losses.append(lambda b=batch: model(**b, use_cache=False).loss)
    model.train()
    return stepping(model, losses, sum(len(tokens) for tokens, _ in chats))


def sampling(shape: LlamaConfig, most: int = 256) -> tuple[Callable[[], int], Callable[[], int]]:
    """Our engine and `generate`, each on its own copy of one model."""
    draws = np.random.default_rng(0)
    lengths = np.clip(np.ceil(draws.exponential(96.0, size=4 * ROWS)).astype(np.int64), 1, most)
    prompts = draws.integers(3, shape.vocab_size, size=(len(lengths), PROMPT))
    model = LlamaPolicy(shape).to(DEVICE, torch.bfloat16).eval()
    theirs = LlamaForCausalLM(shape).to(DEVICE, torch.bfloat16).eval()
    theirs.load_state_dict(model.state_dict())
    engine = FixedLengths(model, lengths, torch.bfloat16)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=most)
    requests = [SampleRequest(id=str(i), prompt_ids=tuple(row.tolist()), seeds=(i,)) for i, row in enumerate(prompts)]
    useful = int(lengths.sum())

    def ours() -> int:
        engine.sample(requests, settings)
        return useful

    def peer() -> int:
        for start in range(0, len(lengths), ROWS):
            batch = torch.from_numpy(prompts[start : start + ROWS]).to(DEVICE)
            ends = AtLength(lengths[start : start + ROWS])
            ends.ends = ends.ends.to(DEVICE)
            with torch.inference_mode():
                theirs.generate(
                    batch,
                    attention_mask=torch.ones_like(batch),
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    max_new_tokens=most,
                    eos_token_id=None,
                    pad_token_id=0,
                    stopping_criteria=[ends],
                )
        return useful

    return ours, peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small model, to try the benchmark out")
    kinds = ("sft-sdpa", "sft-flex", "sampling")
    parser.add_argument("--work", nargs="+", choices=kinds, default=list(kinds))
    asked = parser.parse_args()
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    shape = config(asked.small)
    chats = ragged_chats(64, longest=2048)
    chats = [([1 + i % 31_000 for i in ids], mask) for ids, mask in chats]
    for work in asked.work:
        torch.manual_seed(0)
        if work == "sampling":
            ours, peer = sampling(shape)
            unit = "useful new tokens/s"
        else:
            prefer_backend("flex" if work == "sft-flex" else "sdpa")
            ours = our_sft(LlamaPolicy(shape).to(DEVICE), chats)
            peer = peer_sft(LlamaForCausalLM(shape).to(DEVICE), chats)
            unit = "real tokens/s"
        torch.cuda.reset_peak_memory_stats()
        result = in_turn(ours, peer, asked.rounds)
        print_result(work, "bf16", unit, *result)
        del ours, peer
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
