"""Sampling from other architectures, by transformers' `generate`: the same draws, without the speed.

`generate` only runs the model.  The token of each row is drawn by the same code and the same uniform
numbers as in the engine and then handed over as the only one possible, so a sample depends on its
seed and prompt here too.  Rows of one call have prompts of one length: nothing is padded, so any
attention will do (the forest attention knows no padding mask).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from alignment.generate.checks import answer_room, check_requests
from alignment.generate.nucleus import draw
from alignment.generate.rows import Answer, Rows
from alignment.generate.sampler import OnSample, Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.generate.stop import Decode, find_stop

_MAX_ROWS = 32


class GenerateSampler:
    """Samples from any causal language model of transformers; implements `Sampler`.

    Args:
        model: with `generate`; it is not changed.
        eos_ids: tokens that end an answer.
        decode: tokens to text; stop texts need it.
        max_rows: most answers of one `generate` call.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        eos_ids: Sequence[int],
        decode: Decode | None = None,
        max_rows: int = _MAX_ROWS,
    ) -> None:
        self.model: Any = model
        self.eos_ids, self.decode, self.max_rows = tuple(int(i) for i in eos_ids), decode, max_rows

    @torch.inference_mode()
    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: OnSample | None = None
    ) -> list[list[Sample]]:
        """Draw every answer of every request; see `Sampler`.  Raises as `check_requests` does."""
        text = self.model.config.get_text_config()
        context = int(getattr(text, "max_position_embeddings", 0) or 1 << 30)
        check_requests(
            requests,
            settings,
            context=context,
            vocabulary=text.vocab_size,
            can_decode=self.decode is not None,
        )
        by_length: dict[int, list[Answer]] = {}
        for number, request in enumerate(requests):
            for index in range(len(request.seeds)):
                room = answer_room(request, settings, context)
                answer = Answer(request_index=number, request=request, index=index, limit=room)
                by_length.setdefault(len(request.prompt_ids), []).append(answer)
        samples: dict[tuple[int, int], Sample] = {}
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            for answers in by_length.values():
                for start in range(0, len(answers), self.max_rows):
                    self._generate(answers[start : start + self.max_rows], settings, samples, on_sample)
        finally:
            for module, training in modes:
                module.training = training
        return [[samples[n, i] for i in range(len(request.seeds))] for n, request in enumerate(requests)]

    def _generate(
        self,
        answers: Sequence[Answer],
        settings: SamplingSettings,
        samples: dict[tuple[int, int], Sample],
        on_sample: OnSample | None,
    ) -> None:
        """One call of `generate`: answers whose prompts have one length."""
        prompts = torch.tensor([answer.request.prompt_ids for answer in answers], device=self.model.device)
        limit = max(answer.limit for answer in answers)
        rows = Rows(len(answers), limit, self.eos_ids, prompts.device, self.decode)
        rows.open(range(len(answers)), answers)
        ending = _Ending(rows, settings, self.decode, samples, on_sample)
        self.model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=1,
                max_new_tokens=limit,
                repetition_penalty=1.0,
                eos_token_id=list(self.eos_ids) or None,
                pad_token_id=self.eos_ids[0] if self.eos_ids else 0,
            ),
            logits_processor=LogitsProcessorList([_Drawing(rows, settings, ending)]),
            stopping_criteria=StoppingCriteriaList([ending]),
        )


class _Ending(StoppingCriteria):
    """Closes the rows that ended and tells `generate` which."""

    def __init__(
        self,
        rows: Rows,
        settings: SamplingSettings,
        decode: Decode | None,
        samples: dict[tuple[int, int], Sample],
        on_sample: OnSample | None,
    ) -> None:
        self.rows, self.settings, self.decode = rows, settings, decode
        self.samples, self.on_sample = samples, on_sample
        self.ended: list[bool] = []

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        for slot, at_end in enumerate(self.ended):
            if self.rows.owners[slot] is None:
                continue
            keep: int | None = None
            if self.settings.stop and self.decode is not None:
                keep = find_stop(self.rows.drawn(slot), self.settings.stop, self.decode)
            if at_end or keep is not None:
                answer, sample = self.rows.close(slot, keep, stopped=keep is not None)
                self.samples[answer.request_index, answer.index] = sample
                if self.on_sample is not None:
                    self.on_sample(answer.request, answer.index, sample)
        done = [owner is None for owner in self.rows.owners]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)


class _Drawing(LogitsProcessor):
    """Draws each row's token and leaves `generate` no other."""

    def __init__(self, rows: Rows, settings: SamplingSettings, ending: _Ending) -> None:
        self.rows, self.settings, self.ending = rows, settings, ending

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        every = slice(0, self.rows.slots)
        tokens, log_probs = draw(scores.float().clone(), self.rows.uniforms(every), self.settings)
        self.ending.ended = self.rows.take(every, tokens, log_probs).tolist()
        return torch.full_like(scores, float("-inf")).scatter_(1, tokens[:, None], 0.0)
