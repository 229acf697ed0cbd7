"""Reward-model training, prompts of about 200 tokens and answers of about 100, against TRL's RewardTrainer (batch 8).

    python -m benchmarks.reward [--bf16] [--prompt 200] [--answers 2] [--threads 2] [--rounds 3]

Ours computes each prompt once for both answers; the peer runs two padded rows a pair.  Both count pairs.  With
`--answers 8` a prompt has eight answers, each compared with two others, and ours takes a prompt's pairs together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from alignment.batch.render import answer_tree
from alignment.batch.steps import pack
from benchmarks.measure import benchmark_config, in_turn, print_result, use_machine
from benchmarks.training import our_steps
from reward.by_prompt import by_prompt, make_prompt_batch
from reward.model import LlamaReward
from reward.preferences import PairBatch, PairExample, make_pair_batch
from reward.train import pair_loss

PAIRS, BATCH = 32, 8
Pair = tuple[list[int], list[int], list[int]]


def draw_pairs(prompt: int, answers: int = 2) -> list[Pair]:
    """Prompt, chosen and rejected answers as token ids, lengths within a quarter of their means.

    Args:
        answers: of each prompt; two are one pair, more are as many pairs as answers, each in two of them.
    """
    draws = np.random.default_rng(0)

    def tokens(mean: int) -> list[int]:
        return draws.integers(3, 4096, size=int(draws.integers(int(0.75 * mean), int(1.25 * mean) + 1))).tolist()

    pairs: list[Pair] = []
    while len(pairs) < PAIRS:
        asked, said = [1, *tokens(prompt)], [[*tokens(100), 2] for _ in range(answers)]
        pairs += [(asked, said[i], said[(i + 1) % answers]) for i in range(answers if answers > 2 else 1)]
    return pairs


def peer_work(pairs: list[Pair], config: LlamaConfig, *, bf16: bool) -> Any:
    """TRL's trainer over the pairs once; a work returns their number."""
    os.environ.setdefault("WANDB_DISABLED", "true")
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import RewardConfig, RewardTrainer

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({f"t{i}": i for i in range(4096)}, unk_token="t0")),
        unk_token="t0",
        pad_token="t0",
        eos_token="t2",
    )
    rows = [{"chosen_ids": prompt + chosen, "rejected_ids": prompt + other} for prompt, chosen, other in pairs]
    settings = RewardConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        max_length=512,
        bf16=bf16,
        gradient_checkpointing=False,
        logging_steps=1000,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        learning_rate=1e-4,
    )
    model = LlamaForSequenceClassification(config)
    trainer = RewardTrainer(
        model=model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )

    def work() -> int:
        trainer.train()
        return len(pairs)

    return work


def batches(examples: list[PairExample], *, together: bool) -> list[PairBatch]:
    """A step's forests, pair by pair or by prompt."""
    if together:
        prompts = by_prompt(examples, capacity=2048, most=BATCH)
        return [make_prompt_batch([prompts[i] for i in bin_]) for bin_ in pack(prompts, 2048)]
    return [make_pair_batch([examples[i] for i in bin_]) for bin_ in pack(examples, 2048)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--prompt", type=int, default=200, help="mean length of the prompts")
    parser.add_argument("--answers", type=int, default=2, choices=(2, 4, 8), help="of a prompt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    use_machine(asked.threads)
    torch.manual_seed(0)
    pairs = draw_pairs(asked.prompt, asked.answers)
    config = benchmark_config()
    config.num_labels, config.pad_token_id = 1, 0
    examples = [PairExample(tree=answer_tree(prompt, [chosen, other]), margin=0.0) for prompt, chosen, other in pairs]
    steps = []
    for at in range(0, PAIRS, BATCH):
        steps.append(batches(examples[at : at + BATCH], together=asked.answers > 2))
    loss = partial(pair_loss, safety_weight=0.0)
    train = our_steps(LlamaReward(config), steps, loss, lambda batch: float(batch.num_examples), bf16=asked.bf16)

    def ours() -> int:
        train()
        return PAIRS

    result = in_turn(ours, peer_work(pairs, config, bf16=asked.bf16), asked.rounds)
    work = f"reward training, prompts of {asked.prompt}, {asked.answers} answers each"
    print_result(work, "bf16" if asked.bf16 else "fp32", "pairs/s", *result)


if __name__ == "__main__":
    main()
