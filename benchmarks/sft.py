"""SFT on ragged chat data against TRL's SFTTrainer at its best setting here (`bfd`, batch 1, 8 accumulation steps).

    python -m benchmarks.sft [--bf16] [--naive] [--threads 2] [--rounds 3]

Both train on the same chats, 24 to 512 tokens (log-normal), loss on answers only, and count real tokens.  `--naive`
lets the peer flatten 8 rows into one of 4,096 tokens (its batch 8).  Packing is done before on both sides.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import Any

import torch
from transformers import LlamaForCausalLM

from alignment.batch.steps import pack
from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.train.language_model import language_loss, num_targets
from benchmarks.measure import benchmark_config, in_turn, print_result, use_machine
from benchmarks.training import our_steps, ragged_chats

CHATS, STEP_TOKENS, ROW = 72, 4096, 2048


def peer_work(chats: list[tuple[list[int], list[bool]]], *, bf16: bool, naive: bool) -> Any:
    """TRL's trainer over the chats once; a work returns their tokens."""
    os.environ.setdefault("WANDB_DISABLED", "true")
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"input_ids": ids, "labels": [t if on else -100 for t, on in zip(ids, mask, strict=True)]}
        for ids, mask in chats
    ]
    from tokenizers import Tokenizer, models

    vocabulary = {f"t{i}": i for i in range(4096)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")),
        unk_token="t0",
        pad_token="t0",
        eos_token="t2",
    )
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        packing=True,
        packing_strategy="bfd",
        max_length=512,
        per_device_train_batch_size=8 if naive else 1,
        gradient_accumulation_steps=1 if naive else 8,
        num_train_epochs=1,
        bf16=bf16,
        gradient_checkpointing=False,
        logging_steps=1000,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        learning_rate=1e-4,
    )
    trainer = SFTTrainer(
        model=LlamaForCausalLM(benchmark_config()),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    tokens = sum(len(ids) for ids, _ in chats)

    def work() -> int:
        trainer.train()
        return tokens

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--naive", action="store_true", help="the peer at batch 8: one row of 4,096 tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    use_machine(asked.threads)
    torch.manual_seed(0)
    chats = ragged_chats(CHATS)
    trees = [Tree.sequence(ids, mask) for ids, mask in chats]
    bins = [make_batch([trees[i] for i in bin_]) for bin_ in pack(trees, ROW)]
    each = STEP_TOKENS // ROW
    steps = [bins[at : at + each] for at in range(0, len(bins), each)]
    ours = our_steps(LlamaPolicy(benchmark_config()), steps, language_loss, num_targets, bf16=asked.bf16)
    result = in_turn(ours, peer_work(chats, bf16=asked.bf16, naive=asked.naive), asked.rounds)
    work = "SFT on ragged chats" + (", peer at batch 8" if asked.naive else "")
    print_result(work, "bf16" if asked.bf16 else "fp32", "real tokens/s", *result)


if __name__ == "__main__":
    main()
