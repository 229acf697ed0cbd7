"""TRL's PPOTrainer as a process of its own, run by `benchmarks/ppo.py` with the interpreter of the peer's environment.

    python benchmarks/ppo_peer.py JOB.json

Says {"versions": …} once it is ready.  A line on standard input asks for a round, which is answered by a line: seconds
and samples of its iterations but the first and last, and what was done in all of them, so that both sides can be held
against each other.  Standard output is for these lines alone; what TRL prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


class Times(TrainerCallback):
    """When each iteration ended, by the wall's clock or the processor's."""

    def __init__(self, clock: str) -> None:
        self.ends: list[float] = []
        self._now = {"wall": time.perf_counter, "processor": time.process_time}[clock]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(self._now())


class Counts:
    """What was done: steps of optimizers, and tokens of rows that a body computed for a gradient."""

    def __init__(self, body: torch.nn.Module) -> None:
        self.steps = self.tokens = 0
        register_optimizer_step_post_hook(self._step)
        body.register_forward_pre_hook(self._forward, with_kwargs=True)

    def _step(self, *_: Any) -> None:
        self.steps += 1

    def _forward(self, _: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            self.tokens += named["input_ids"].numel()


class Lengths:
    """Tokens of the answers, counted where TRL cuts them at their end tokens."""

    def __init__(self) -> None:
        self.tokens = self.answers = 0
        self._cut = ppo_trainer.truncate_response
        ppo_trainer.truncate_response = self._counted

    def _counted(self, stop: int, pad: int, responses: torch.Tensor) -> torch.Tensor:
        cut = self._cut(stop, pad, responses)
        self.tokens += int((cut != pad).sum())
        self.answers += len(cut)
        return cut


def tokenizer_of(vocabulary: int, end: int | None) -> PreTrainedTokenizerFast:
    """Pads with an id beyond the vocabulary.

    TRL takes whatever has the padding's id for padding: a sampled token of that id would cut its answer, and cost the
    whole batch the attention without a mask.
    """
    words = {f"t{i}": i for i in range(vocabulary + 1)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")),
        unk_token="t0",
        eos_token=f"t{2 if end is None else end}",
        pad_token=f"t{vocabulary}",
    )


def open_trainer(job: dict[str, Any], times: Times) -> PPOTrainer:
    """The trainer of a job: policy, reference, reward model and value model of one shape."""
    torch.manual_seed(0)
    shape = LlamaConfig(**job["config"])
    scores = LlamaConfig(**{**job["config"], "num_labels": 1})
    policy, reference = LlamaForCausalLM(shape), LlamaForCausalLM(shape)
    for model in (policy, reference):
        model.load_state_dict(load_file(job["weights"]))
    settings = PPOConfig(
        output_dir=tempfile.mkdtemp(prefix="ppo-peer-"),
        # one batch a pass and no accumulation: only then is every mini-batch an optimizer step (trl#5645)
        per_device_train_batch_size=job["batch_size"],
        gradient_accumulation_steps=1,
        num_mini_batches=job["batch_size"] // job["minibatch_size"],
        num_ppo_epochs=job["epochs"],
        total_episodes=job["iterations"] * job["batch_size"],
        response_length=job["response"],
        stop_token=None if job["end"] is None else "eos",
        temperature=1.0,
        kl_coef=0.01,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        bf16=False,  # not read (TRL's accelerator is made without it); ACCELERATE_MIXED_PRECISION is
        use_cpu=True,
        num_sample_generations=0,
        save_strategy="no",
        report_to=[],
        logging_steps=1000,
    )
    return PPOTrainer(
        args=settings,
        processing_class=tokenizer_of(shape.vocab_size, job["end"]),
        model=policy,
        ref_model=reference,
        reward_model=LlamaForSequenceClassification(scores),
        value_model=LlamaForSequenceClassification(scores),
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in job["prompts"]]),
        eval_dataset=Dataset.from_list([{"input_ids": job["prompts"][0]}]),
        callbacks=[times],
    )


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.path.insert(0, job["root"])
    from alignment.process import settle  # threads and freed memory as on our side; imports nothing more

    torch.set_num_threads(job["threads"])
    settle(job["threads"])
    times = Times(job["clock"])
    trainer = open_trainer(job, times)
    lengths = Lengths()
    counts = Counts(trainer.policy_model.get_decoder())
    import accelerate
    import transformers
    import trl

    versions = {package.__name__: package.__version__ for package in (torch, transformers, accelerate, trl)}
    precision = str(trainer.accelerator.mixed_precision)
    print(json.dumps({"versions": versions, "mixed_precision": precision}), file=answers, flush=True)
    for _ in sys.stdin:
        times.ends.clear()
        counts.steps = counts.tokens = lengths.tokens = lengths.answers = 0
        trainer.train()
        counted = times.ends[:-1]  # the first one is not whole, the last one may hold more than itself
        said = {
            "seconds": counted[-1] - counted[0],
            "samples": (len(counted) - 1) * job["batch_size"],
            "steps": counts.steps,
            "trained_tokens": counts.tokens,
            "answer_tokens": lengths.tokens / max(lengths.answers, 1),
        }
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
