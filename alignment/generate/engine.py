"""Sampling from the core: continuous batching over a preallocated grouped cache.

Prompts are prefilled as one forest; each answer decodes in its own row and leaves when it is done,
and a waiting answer takes its slot.  Requests beyond the memory budget wait for their turn.  The
uniform numbers of an answer come from its seed alone, so a sample does not depend on its
neighbours; what is left is float rounding: matrix products of other shapes round logits by some
1e-6 (fp32), which moves a draw only where the uniform number falls that close to an edge of the
cumulative distribution, or a token's rank or nucleus mass that close to the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from alignment.errors import UsageError
from alignment.generate.batch import Batch
from alignment.generate.budget import cache_budget, room_for
from alignment.generate.checks import answer_room, check_requests
from alignment.generate.decoder import Decoder, blocks
from alignment.generate.limits import MAX_SLOTS
from alignment.generate.packed import PackedDecoder, can_pack
from alignment.generate.rows import Answer
from alignment.generate.sampler import OnSample, Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.generate.stop import Decode
from alignment.model.cache import Cache, CacheShape, SlotCache
from alignment.model.llama import LlamaPolicy
from alignment.model.prompt_cache import PromptCache

_START = 64  # new positions a slot begins with; it grows


class Engine:
    """Samples from a `LlamaPolicy`; implements `Sampler`.

    The weights are read anew at each call, so an engine follows a model that is being trained.

    Args:
        model: the policy; it is not changed.
        eos_ids: tokens that end an answer.
        max_slots: most answers decoded together; 256 by default.
        memory_budget_bytes: most bytes of keys and values; fewer slots are used where they would need more.  By default
            a share of what is free where the model lies, at each call (`budget.py`).
        decode: tokens to text; stop texts need it.
        precision: dtype of the forward passes; the model's own by default.
    """

    def __init__(
        self,
        model: LlamaPolicy,
        *,
        eos_ids: Sequence[int],
        max_slots: int | None = None,
        memory_budget_bytes: int | None = None,
        decode: Decode | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        if max_slots is not None and max_slots < 1:
            raise UsageError(f"max_slots is {max_slots}; at least 1 answer must fit")
        self.model, self.eos_ids, self.decode = model, tuple(int(i) for i in eos_ids), decode
        self.max_slots = max_slots if max_slots is not None else MAX_SLOTS
        self.memory_budget_bytes, self.precision = memory_budget_bytes, precision

    def answer_limit(self, request: SampleRequest, index: int, settings: SamplingSettings) -> int:
        """Most new tokens of one answer: `max_new_tokens`, or what the context leaves."""
        return answer_room(request, settings, int(self.model.config.max_position_embeddings))

    @torch.inference_mode()
    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: OnSample | None = None
    ) -> list[list[Sample]]:
        """Draw every answer of every request; see `Sampler`.

        Raises:
            RequestTooLong: a prompt leaves no room for one new token; before any work.
            UsageError: an empty prompt, a token outside the vocabulary, stop texts without `decode`,
                or a budget that one answer exceeds; before any work.
            AlignmentError: the model's logits are not finite.
        """
        answers = self._answers(requests, settings)
        if not answers:
            return [[] for _ in requests]
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()  # an adapter's dropout is no part of the policy
        try:
            batch = Batch(
                answers,
                decoder=self._decoder(answers),
                cache=self._cache(requests, answers),
                eos_ids=self.eos_ids,
                settings=settings,
                decode=self.decode,
                on_sample=on_sample,
            )
            samples = batch.run()
        finally:
            for module, training in modes:
                module.training = training
        return [[samples[n, i] for i in range(len(request.seeds))] for n, request in enumerate(requests)]

    def _answers(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> list[Answer]:
        """The answers wanted, after every request was found possible."""
        config = self.model.config
        check_requests(
            requests,
            settings,
            context=config.max_position_embeddings,
            vocabulary=config.vocab_size,
            can_decode=self.decode is not None,
        )
        return [
            Answer(
                request_index=number,
                request=request,
                index=index,
                limit=self.answer_limit(request, index, settings),
            )
            for number, request in enumerate(requests)
            for index in range(len(request.seeds))
        ]

    @property
    def _precision(self) -> torch.dtype:
        return self.precision or self.model.lm_head.weight.dtype

    def _decoder(self, answers: Sequence[Answer]) -> Decoder:
        if can_pack(self.model, self._precision):
            longest = max(len(answer.request.prompt_ids) + answer.limit for answer in answers)
            return PackedDecoder(self.model, self._precision, longest)
        if self._precision != self.model.lm_head.weight.dtype:
            copied = deepcopy(self.model)
            nn.Module.to(copied, self._precision)
            return Decoder(copied)
        return Decoder(self.model)

    def _cache(self, requests: Sequence[SampleRequest], answers: Sequence[Answer]) -> Cache:
        """A cache of as many slots as are useful, allowed and affordable."""
        attention = blocks(self.model)[0].self_attn
        shape = CacheShape(
            num_layers=self.model.config.num_hidden_layers,
            num_kv_heads=int(attention.num_kv_heads or attention.num_heads),
            head_dim=attention.head_dim,
            # on a CPU fp32 keys are no slower to attend to than bf16 ones, and exact
            dtype=torch.float32 if can_pack(self.model, self._precision) else self._precision,
            device=self.model.lm_head.weight.device,
        )
        prompt = max(len(answer.request.prompt_ids) for answer in answers)
        new = max(answer.limit for answer in answers)
        need = max(len(answer.request.prompt_ids) + answer.limit for answer in answers)
        budget = self.memory_budget_bytes if self.memory_budget_bytes is not None else cache_budget(shape.device)
        room = room_for(
            shape,
            prompts=sum(1 for request in requests if request.seeds),
            answers=len(answers),
            prompt=prompt,
            new=new,
            most=need,
            max_slots=self.max_slots,
            budget=budget,
        )
        if room.slots < 1:
            where = "memory_budget_bytes is" if self.memory_budget_bytes is not None else "free for keys and values are"
            raise UsageError(
                f"{where} {budget}; one answer of {need} positions needs {room.need} ({shape.dtype}): a shorter "
                f"answer, a smaller precision or more memory is needed"
            )
        if room.shelves:
            return PromptCache(
                shape, slots=room.slots, capacity=_START, most=new, shelves=room.shelves, longest_prompt=prompt
            )
        return SlotCache(shape, slots=room.slots, capacity=prompt + _START, most=need)
