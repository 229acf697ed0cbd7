"""16 samples of one prompt of 256 tokens, against `generate(num_return_sequences=16)`; 128 new tokens each.

    python -m benchmarks.shared_prompt [--bf16 | --best] [--threads 2] [--rounds 3]

The engine runs and stores the prompt once; `generate` runs and stores it 16 times.  `--best` compares
our bf16 with the peer's fp32, the faster of its two.
"""

from __future__ import annotations

import argparse

import torch
from transformers import LlamaForCausalLM

from alignment.generate.engine import Engine
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.llama import LlamaPolicy
from benchmarks.measure import benchmark_config, in_turn, print_result, use_machine

SAMPLES, PROMPT, NEW = 16, 256, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--bf16", action="store_true", help="both sides in bf16")
    precision.add_argument("--best", action="store_true", help="our bf16 against the peer's fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    use_machine(asked.threads)

    torch.manual_seed(0)
    prompt = torch.randint(0, 4096, (1, PROMPT))
    model = LlamaPolicy(benchmark_config()).eval()
    theirs = LlamaForCausalLM(benchmark_config()).eval()
    theirs.load_state_dict(model.state_dict())
    theirs.to(torch.bfloat16 if asked.bf16 else torch.float32)
    ours = Engine(model, eos_ids=[], precision=torch.bfloat16 if asked.bf16 or asked.best else torch.float32)
    request = SampleRequest(id="prompt", prompt_ids=tuple(prompt[0].tolist()), seeds=tuple(range(SAMPLES)))
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=NEW)

    def sample() -> int:
        (samples,) = ours.sample([request], settings)
        return sum(len(own.token_ids) for own in samples)

    def generate() -> int:
        with torch.inference_mode():
            out = theirs.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=NEW,
                eos_token_id=None,
                pad_token_id=0,
                num_return_sequences=SAMPLES,
            )
        return out.shape[0] * (out.shape[1] - PROMPT)

    result = in_turn(sample, generate, asked.rounds)
    kind = "bf16 against fp32" if asked.best else "bf16" if asked.bf16 else "fp32"
    print_result("16 samples of one prompt of 256", kind, "new tokens/s", *result)


if __name__ == "__main__":
    main()
