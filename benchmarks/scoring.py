"""Scoring 16 answers of about 100 tokens to one prompt of 256, against one padded batch of 16 rows in transformers.

python -m benchmarks.scoring [--bf16] [--threads 2] [--rounds 3]
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import LlamaForSequenceClassification

from alignment.batch.render import answer_tree
from alignment.batch.tree import make_batch
from benchmarks.measure import benchmark_config, in_turn, print_result
from benchmarks.training import autocast, parse
from reward.model import LlamaReward, segment_scores

ANSWERS, PROMPT, PROMPTS = 16, 256, 4


def main() -> None:
    asked = parse(__doc__.splitlines()[0])
    torch.manual_seed(0)
    draws = np.random.default_rng(0)
    config = benchmark_config()
    config.num_labels, config.pad_token_id = 1, 0
    ours, theirs = LlamaReward(config).eval(), LlamaForSequenceClassification(config).eval()
    theirs.load_state_dict(ours.state_dict())
    prompts = [[1, *draws.integers(3, 4096, size=PROMPT - 1).tolist()] for _ in range(PROMPTS)]
    answers = [
        [draws.integers(3, 4096, size=int(draws.integers(75, 126))).tolist() for _ in range(ANSWERS)] for _ in prompts
    ]

    def shared() -> int:
        for prompt, options in zip(prompts, answers, strict=True):
            with torch.inference_mode(), autocast(asked.bf16):
                segment_scores(ours, make_batch([answer_tree(prompt, options)]))[1:].tolist()
        return PROMPTS * ANSWERS

    def padded() -> int:
        for prompt, options in zip(prompts, answers, strict=True):
            rows = [prompt + option for option in options]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
            with torch.inference_mode(), autocast(asked.bf16):
                theirs(ids, attention_mask=(ids != 0).long()).logits[:, 0].tolist()
        return PROMPTS * ANSWERS

    result = in_turn(shared, padded, asked.rounds)
    print_result("scoring 16 answers to one prompt", "bf16" if asked.bf16 else "fp32", "answers/s", *result)


if __name__ == "__main__":
    main()
