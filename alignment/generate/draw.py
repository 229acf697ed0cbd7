"""Answers to dialogues: prompts rendered, samples named and journalled as they arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from alignment.errors import CheckpointError
from alignment.generate.engine import Engine
from alignment.generate.sampler import Sample, Sampler, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.modes import evaluating
from alignment.policy.adapted import without_wrapper
from alignment.policy.policy import Policy
from alignment.process import settle
from alignment.randomness import named_seed
from alignment.records import Answer, Dialogue
from alignment.store.journal import Journal
from alignment.text.chat import render_prompt

# of a stage's folder: where its samples' journals lie.  They are what a stage resumes from, not its result: the
# order in which samples arrive, and log-probabilities' last digits, depend on when it was interrupted.
JOURNALS = "samples"


def make_sampler(policy: Policy) -> Sampler:
    """The engine for the core, transformers' `generate` for other architectures."""
    from alignment.model.llama import LlamaPolicy

    if policy.model.device.type == "cpu":
        settle(torch.get_num_threads())
    if isinstance(core := without_wrapper(policy.model), LlamaPolicy):
        return Engine(core, eos_ids=[policy.tokenizer.eos_id], decode=policy.tokenizer.decode)
    from alignment.generate.fallback import GenerateSampler

    return GenerateSampler(policy.model, eos_ids=[policy.tokenizer.eos_id], decode=policy.tokenizer.decode)


def fitting_prompts(
    prompts: Sequence[Dialogue], policy: Policy, sampling: SamplingSettings
) -> tuple[list[tuple[Dialogue, tuple[int, ...]]], int]:
    """Prompts that leave room for an answer, with their tokens; and how many were left out."""
    context = int(policy.model.config.max_position_embeddings) - room_for_an_answer(sampling)
    rendered = [(prompt, tuple(render_prompt(prompt, policy.tokenizer))) for prompt in prompts]
    kept = [(prompt, ids) for prompt, ids in rendered if len(ids) <= context]
    return kept, len(rendered) - len(kept)


def room_for_an_answer(sampling: SamplingSettings) -> int:
    """Tokens that a prompt must leave free in the context: those of the shortest answer worth drawing."""
    return min(sampling.max_new_tokens, 8)


def draw_samples(
    policy: Policy,
    prompts: Sequence[tuple[Dialogue, tuple[int, ...]]],
    *,
    num_samples: int,
    sampling: SamplingSettings,
    seed: int,
    names: tuple[str | int, ...],
    journal_path: Path | None,
    sampler: Sampler | None = None,
) -> list[list[Sample]]:
    """K answers to each prompt; what the journal holds already is not drawn again.

    Args:
        prompts: dialogues with their prompt tokens.
        names: name the draws (stage, version, iteration); each sample's seed adds its prompt's id and its index.
        journal_path: samples are appended as they finish; None keeps no journal.

    The policy's modules are left in the modes in which they were: what trains between draws trains on.
    """
    known: dict[tuple[str, int], Sample] = {}
    if journal_path is not None:
        journal_path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(journal_path) if journal_path is not None else None
    if journal is not None:
        try:
            known = journalled(journal.records, journal_path, vocab_size=policy.tokenizer.vocab_size)
        except CheckpointError:
            journal.close()
            raise
    wanted = [
        SampleRequest(
            id=prompt.id,
            prompt_ids=ids,
            seeds=tuple(
                named_seed(seed, *names, prompt.id, k) for k in range(num_samples) if (prompt.id, k) not in known
            ),
        )
        for prompt, ids in prompts
    ]
    missing = {prompt.id: [k for k in range(num_samples) if (prompt.id, k) not in known] for prompt, _ in prompts}

    def arrived(request: SampleRequest, index: int, sample: Sample) -> None:
        key = (request.id, missing[request.id][index])
        known[key] = sample
        if journal:
            journal.append(
                {
                    "prompt": key[0],
                    "sample": key[1],
                    "token_ids": list(sample.token_ids),
                    "log_probs": list(sample.log_probs),
                    "finish": sample.finish_reason,
                    "text": sample.text,
                },
                flush=False,
            )

    with evaluating(policy.model):
        (sampler or make_sampler(policy)).sample([request for request in wanted if request.seeds], sampling, arrived)
    if journal:
        journal.close()
    return [[known[prompt.id, k] for k in range(num_samples)] for prompt, _ in prompts]


def journalled(
    records: Sequence[Mapping[str, Any]], path: Path | None, *, vocab_size: int
) -> dict[tuple[str, int], Sample]:
    """A journal's samples by prompt and number.

    Raises:
        CheckpointError: a record is no sample of this vocabulary; names the file, the line and what is wrong.
    """
    known = {}
    for line, record in enumerate(records, start=1):
        try:
            ids, log_probs = tuple(record["token_ids"]), tuple(record["log_probs"])
            if not all(type(token) is int and 0 <= token < vocab_size for token in ids):
                raise ValueError(f"token_ids must be from 0 to {vocab_size - 1}")
            if len(log_probs) != len(ids) or not all(isinstance(value, (int, float)) for value in log_probs):
                raise ValueError("log_probs must be one number a token")
            known[str(record["prompt"]), int(record["sample"])] = Sample(
                token_ids=ids, log_probs=log_probs, finish_reason=record["finish"], text=record.get("text")
            )
        except (KeyError, TypeError, ValueError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"{path}:{line} is no sample ({why}); move the journal away to draw anew") from None
    return known


def answers_of(
    prompts: Sequence[tuple[Dialogue, tuple[int, ...]]], samples: Sequence[Sequence[Sample]], policy: Policy
) -> list[list[Answer]]:
    """The samples as answers that a judge takes, prompt by prompt."""
    return [
        [
            Answer(
                dialogue=prompt,
                prompt_ids=ids,
                token_ids=sample.token_ids,
                text=policy.tokenizer.decode(sample.token_ids).strip(),
                tokenizer=policy.tokenizer.sha256,
                finished=sample.finish_reason == "stop",
            )
            for sample in options
        ]
        for (prompt, ids), options in zip(prompts, samples, strict=True)
    ]
