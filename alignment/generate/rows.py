"""The answers that are being drawn: one row each, as tensors, so that a step is a handful of calls.

S slots, N rows in use (the first N slots, holes included), M most new tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.generate.sampler import FinishReason, Sample, SampleRequest
from alignment.generate.stop import Decode, text_of
from alignment.randomness import named_generator


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer wanted: whose, which, and how long it may get."""

    request_index: int
    request: SampleRequest
    index: int
    limit: int


class Rows:
    """The state of up to S answers.

    A row holds its last drawn token, the position at which that token will stand in the cache, and
    how many tokens it has drawn.  A finished row is a hole until it is refilled or closed; a hole is
    computed along, and nothing is read from it.

    Args:
        slots: S.
        most_new: M.
        eos_ids: tokens that end an answer.
        device: where the rows are.
        decode: tokens to text, for the samples' texts.
    """

    def __init__(
        self,
        slots: int,
        most_new: int,
        eos_ids: Sequence[int],
        device: torch.device,
        decode: Decode | None = None,
    ) -> None:
        self.slots, self.count, self.decode = slots, 0, decode
        self.owners: list[Answer | None] = [None] * slots

        def counters(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.int64, device=device)

        self.last = counters(slots)
        self.positions = counters(slots)
        self.steps = counters(slots)
        self.limits = counters(slots)
        self._alive = counters(slots)  # 1 for a row with an answer, 0 for a hole
        self._uniforms = torch.zeros(slots, most_new + 1, dtype=torch.float64, device=device)
        self._tokens = counters(slots, most_new + 1)
        self._log_probs = torch.zeros(slots, most_new + 1, device=device)
        self._ends = torch.tensor(sorted(set(eos_ids)), dtype=torch.int64, device=device)

    @property
    def holes(self) -> list[int]:
        """Slots without an answer, those behind the rows in use included."""
        return [slot for slot, owner in enumerate(self.owners) if owner is None]

    @property
    def live(self) -> int:
        """How many answers are being drawn."""
        return self.slots - self.owners.count(None)

    def open(self, slots: Sequence[int], answers: Sequence[Answer]) -> Tensor:
        """Give answers to free slots; returns the slots as a tensor."""
        device = self.last.device
        where = torch.tensor(slots, dtype=torch.int64, device=device)
        for slot, answer in zip(slots, answers, strict=True):
            self.owners[slot] = answer
            drawn = named_generator(answer.request.seeds[answer.index], "sample").random(answer.limit)
            self._uniforms[slot, : answer.limit] = torch.from_numpy(drawn).to(device)
        prompts = [len(answer.request.prompt_ids) for answer in answers]
        self.positions[where] = torch.tensor(prompts, dtype=torch.int64, device=device) - 1
        limits = [answer.limit for answer in answers]
        self.limits[where] = torch.tensor(limits, dtype=torch.int64, device=device)
        self.steps[where] = 0
        self._alive[where] = 1
        self.count = max(self.count, max(slots) + 1)
        return where

    def uniforms(self, where: Tensor | slice) -> Tensor:
        """The uniform number of each row's next draw."""
        return self._uniforms[where].gather(1, self.steps[where][:, None]).squeeze(1)

    def take(self, where: Tensor | slice, tokens: Tensor, log_probs: Tensor) -> Tensor:
        """Append one token a row.

        Returns:
            Which of these rows' answers end with it, by an end token or by their limit; booleans.
        """
        steps = self.steps[where]
        if isinstance(where, slice):
            self._tokens[where].scatter_(1, steps[:, None], tokens[:, None])
            self._log_probs[where].scatter_(1, steps[:, None], log_probs[:, None])
        else:
            self._tokens[where, steps] = tokens
            self._log_probs[where, steps] = log_probs
        self.last[where] = tokens
        alive = self._alive[where]
        self.positions[where] += alive
        self.steps[where] += alive
        ended = self.steps[where] >= self.limits[where]
        if len(self._ends):
            ended |= torch.isin(tokens, self._ends)
        return ended & alive.bool()

    def drawn(self, slot: int) -> list[int]:
        """The tokens of one row so far."""
        return self._tokens[slot, : int(self.steps[slot])].tolist()

    def close(self, slot: int, length: int | None = None, stopped: bool = False) -> tuple[Answer, Sample]:
        """End one row: its answer and sample; the slot becomes a hole.

        Args:
            slot: the row.
            length: keep that many tokens (a stop text was cut off); all by default.
            stopped: a stop text ended it.
        """
        answer = self.owners[slot]
        assert answer is not None, "only rows with an answer end"
        tokens = self.drawn(slot)
        reason: FinishReason = "stop" if stopped or tokens[-1] in self._ends.tolist() else "length"
        kept = len(tokens) if length is None else length
        self.owners[slot] = None
        # a hole stands still at 0, so that it never outgrows the cache or its columns
        for state in (self._alive, self.positions, self.steps):
            state[slot] = 0
        sample = Sample(
            token_ids=tuple(tokens[:kept]),
            log_probs=tuple(self._log_probs[slot, :kept].tolist()),
            finish_reason=reason,
            text=text_of(tokens[:kept], self._ends.tolist(), self.decode),
        )
        return answer, sample

    def compact(self) -> list[tuple[int, int]]:
        """Move the last rows into the holes.

        Returns:
            (source, target) of each move, for the cache to follow.
        """
        moves: list[tuple[int, int]] = []
        target = 0
        while True:
            while self.count and self.owners[self.count - 1] is None:
                self.count -= 1
            while target < self.count and self.owners[target] is not None:
                target += 1
            if target >= self.count:
                break
            moves.append((self.count - 1, target))
            self.owners[target], self.owners[self.count - 1] = self.owners[self.count - 1], None
        if moves:
            source, into = (torch.tensor(side, device=self.last.device) for side in zip(*moves, strict=True))
            columns = (self._uniforms, self._tokens, self._log_probs)
            for state in (self.last, self.positions, self.steps, self.limits, self._alive, *columns):
                state[into] = state[source]
        return moves
