"""One call of the engine: answers wait, take a slot, decode, and leave when they are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from alignment.errors import AlignmentError
from alignment.generate.decoder import Decoder
from alignment.generate.nucleus import draw
from alignment.generate.rows import Answer, Rows
from alignment.generate.sampler import OnSample, Sample
from alignment.generate.settings import SamplingSettings
from alignment.generate.stop import Decode, find_stop
from alignment.model.cache import Cache
from alignment.model.forest import Forest

_PREFILL_TOKENS = 2048  # of prompts run together; more only costs memory
_REFILL_SHARE = 8  # refill when an eighth of the slots is free: prompts run together, few slots idle


class Batch:
    """The state of one call.

    Args:
        answers: in the order in which they are to start, those of a request together.
        decoder: the forward passes.
        cache: decides how many decode together.
        eos_ids: tokens that end an answer.
        settings: the sampling distribution.
        decode: tokens to text.
        on_sample: told of each answer as it ends.
    """

    def __init__(
        self,
        answers: Sequence[Answer],
        *,
        decoder: Decoder,
        cache: Cache,
        eos_ids: Sequence[int],
        settings: SamplingSettings,
        decode: Decode | None,
        on_sample: OnSample | None,
    ) -> None:
        self.waiting = deque(answers)
        self.decoder, self.cache, self.settings = decoder, cache, settings
        self.decode, self.on_sample = decode, on_sample
        most = max(answer.limit for answer in answers)
        self.rows = Rows(cache.slots, most, eos_ids, decoder.device, decode)
        self.samples: dict[tuple[int, int], Sample] = {}
        self._first: dict[int, Tensor] = {}  # logits after the last prompt, for answers that join it later

    def run(self) -> dict[tuple[int, int], Sample]:
        """Draw all answers: (request's number, answer's index) -> sample."""
        rows, cache = self.rows, self.cache
        self._admit()
        while rows.live:
            used = slice(0, rows.count)
            logits = self.decoder.step(rows.last[used], rows.positions[used], cache)
            ended = rows.take(used, *draw(logits, rows.uniforms(used), self.settings))
            if self.settings.stop or bool(ended.any()):
                self._finish(range(rows.count), ended.tolist())
                free = rows.slots - rows.live
                if self.waiting and (free * _REFILL_SHARE >= rows.slots or not rows.live):
                    self._admit()
                elif not self.waiting:
                    for source, target in rows.compact():
                        cache.move(source, target)
        return self.samples

    def _admit(self) -> None:
        """Fill free slots with waiting answers; an answer may end with its first token, so repeat."""
        while self.waiting and (holes := self.rows.holes):
            group = self._next_group(len(holes))
            if not group:
                return
            slots = holes[: len(group)]
            readers: dict[int, list[int]] = {}
            for slot, answer in zip(slots, group, strict=True):
                readers.setdefault(answer.request_index, []).append(slot)
            where = self.rows.open(slots, group)
            first = self._open_prompts(group, readers)
            logits = torch.stack([first[answer.request_index] for answer in group])
            ended = self.rows.take(where, *draw(logits, self.rows.uniforms(where), self.settings))
            self._finish(slots, ended.tolist())

    def _next_group(self, free_slots: int) -> list[Answer]:
        """The next waiting answers that fit slots, prompts and one prefill."""
        group: list[Answer] = []
        opened: set[int] = set()
        tokens = 0
        while self.waiting and len(group) < free_slots:
            number, request = self.waiting[0].request_index, self.waiting[0].request
            if number not in opened and not self.cache.holds(number):
                tokens += len(request.prompt_ids)
                if len(opened) == self.cache.free_prompts or (opened and tokens > _PREFILL_TOKENS):
                    break
                opened.add(number)
            group.append(self.waiting.popleft())
        return group

    def _open_prompts(self, group: Sequence[Answer], readers: dict[int, list[int]]) -> dict[int, Tensor]:
        """Logits after each prompt of the group, from a prefill where it is not stored yet."""
        first = {number: logits for number, logits in self._first.items() if number in readers}
        for number in first:
            self.cache.join(number, readers[number])
        new = {answer.request_index: answer.request for answer in group if answer.request_index not in first}
        if new:
            prompts = [request.prompt_ids for request in new.values()]
            forest = Forest.roots([len(prompt) for prompt in prompts])
            flat = torch.tensor([token for prompt in prompts for token in prompt], device=self.decoder.device)
            counts = [len(request.seeds) for request in new.values()]
            store = self.cache.open(list(new), forest, [readers[number] for number in new], counts)
            first.update(zip(new, self.decoder.prefill(flat, forest, store), strict=True))
        last = group[-1].request_index
        self._first = {last: first[last]} if self.cache.holds(last) else {}
        return first

    def _finish(self, slots: Sequence[int], ended: Sequence[bool]) -> None:
        """Take the answers that ended out of their slots."""
        for slot, at_end in zip(slots, ended, strict=True):
            if self.rows.owners[slot] is None:
                continue
            keep: int | None = None
            if self.settings.stop:
                assert self.decode is not None, "the engine checks it before"
                keep = find_stop(self.rows.drawn(slot), self.settings.stop, self.decode)
            if not at_end and keep is None:
                continue
            answer, sample = self.rows.close(slot, keep, stopped=keep is not None)
            self.cache.close(slot)
            if not all(value == value for value in sample.log_probs):
                raise AlignmentError(
                    f"the logits are not finite in answer {answer.index} of request {answer.request.id!r}; "
                    f"check the checkpoint's weights"
                )
            self.samples[answer.request_index, answer.index] = sample
            if self.on_sample is not None:
                self.on_sample(answer.request, answer.index, sample)
