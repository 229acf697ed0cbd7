"""Sampling, against transformers' `generate`: 64 rows, prompts of 64 tokens, temperature 1, everything kept.

    python -m benchmarks.sampling [--full] [--bf16 | --best] [--threads 2] [--rounds 3]

By default answers have exponential lengths (mean 48, at most 128) and useful tokens count: `generate`
runs each batch of 64 until its longest answer ends, the engine refills its 64 slots.  With `--full`
every answer has 128 tokens.  `--best` compares our bf16 with the peer's fp32, the faster of its two.
Both sides prefill the prompts within the time.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM, StoppingCriteria, StoppingCriteriaList

from alignment.generate.engine import Engine
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.llama import LlamaPolicy
from benchmarks.measure import benchmark_config, in_turn, print_result, use_machine

ROWS, PROMPT, MOST = 64, 64, 128


class FixedLengths(Engine):
    """An engine whose answers have lengths given beforehand, as if each ended by itself."""

    def __init__(self, model: LlamaPolicy, lengths: np.ndarray, precision: torch.dtype) -> None:
        super().__init__(model, eos_ids=[], max_slots=ROWS, precision=precision)
        self.lengths = lengths

    def answer_limit(self, request: SampleRequest, index: int, settings: SamplingSettings) -> int:
        return int(self.lengths[int(request.id)])


class AtLength(StoppingCriteria):
    """Ends each row of a batch at its length."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.ends = PROMPT + torch.from_numpy(lengths)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every answer has 128 tokens")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--bf16", action="store_true", help="both sides in bf16")
    precision.add_argument("--best", action="store_true", help="our bf16 against the peer's fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    use_machine(asked.threads)

    generator = np.random.default_rng(0)
    answers = ROWS if asked.full else 4 * ROWS
    drawn = np.ceil(generator.exponential(48.0, size=answers)).astype(np.int64)
    lengths = np.full(answers, MOST) if asked.full else np.clip(drawn, 1, MOST)
    prompts = generator.integers(0, 4096, size=(answers, PROMPT))
    useful = int(lengths.sum())

    torch.manual_seed(0)
    model = LlamaPolicy(benchmark_config()).eval()
    theirs = LlamaForCausalLM(benchmark_config()).eval()
    theirs.load_state_dict(model.state_dict())
    theirs.to(torch.bfloat16 if asked.bf16 else torch.float32)
    ours = FixedLengths(model, lengths, torch.bfloat16 if asked.bf16 or asked.best else torch.float32)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=MOST)
    requests = [SampleRequest(id=str(i), prompt_ids=tuple(row.tolist()), seeds=(i,)) for i, row in enumerate(prompts)]

    def sample() -> int:
        samples = ours.sample(requests, settings)
        assert sum(len(own[0].token_ids) for own in samples) == useful
        return useful

    def generate() -> int:
        for start in range(0, answers, ROWS):
            batch = torch.from_numpy(prompts[start : start + ROWS])
            own = lengths[start : start + ROWS]
            with torch.inference_mode():
                out = theirs.generate(
                    batch,
                    attention_mask=torch.ones_like(batch),
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    max_new_tokens=MOST,
                    eos_token_id=None,
                    pad_token_id=0,
                    stopping_criteria=StoppingCriteriaList([AtLength(own)]),
                )
            assert out.shape[1] == PROMPT + own.max()
        return useful

    result = in_turn(sample, generate, asked.rounds)
    work = "sampling, 64 rows of 128" if asked.full else "sampling, 64 rows of exponential lengths"
    kind = "bf16 against fp32" if asked.best else "bf16" if asked.bf16 else "fp32"
    print_result(work, kind, "useful new tokens/s", *result)


if __name__ == "__main__":
    main()
