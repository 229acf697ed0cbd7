"""The key/value cache for K answers a prompt: each prompt stored once, read by all its answers.

A step's scores are those against the prompt, computed for all its answers in one matrix product a
head, beside those against the answer's own tokens, under one softmax.  Shapes as in
`alignment.model.cache`; P shelves in use (one prompt each), R the most answers that read one shelf
now, A positions of the longest prompt and B of the longest answer, both rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.model.cache import (
    Attend,
    CacheShape,
    Slots,
    Store,
    pad_group,
    prompt_store,
    round_up,
    softmax_,
)
from alignment.model.forest import Forest


@dataclass(frozen=True, kw_only=True)
class _Readers:
    """Who reads which shelf; fixed until an answer comes, goes or moves."""

    shelves: int  # P
    most: int  # R
    rows: Tensor | None  # [P R] the row at each place, padded with row 0; None if places are rows
    places: Tensor | None  # [N] the place of each row
    starts: Tensor  # [N] prompt length
    bias: Tensor  # [N, 1, A]


class PromptCache:
    """Prompts on shelves, answers in slots.

    Args:
        shape: the model's.
        slots: answers that decode together.
        capacity: positions of an answer to begin with.
        most: positions of the longest answer.
        shelves: prompts held together.
        longest_prompt: its positions.
    """

    def __init__(
        self, shape: CacheShape, *, slots: int, capacity: int, most: int, shelves: int, longest_prompt: int
    ) -> None:
        self.slots = slots
        self._own = Slots(shape, slots, capacity, most)
        self._prompts = Slots(shape, shelves, longest_prompt, longest_prompt)
        self._held: list[int | None] = [None] * shelves
        self._lengths = [0] * shelves
        self._due = [0] * shelves  # answers still to be closed
        self._shelf_of: list[int | None] = [None] * slots
        self._readers: _Readers | None = None

    @property
    def nbytes(self) -> int:
        return self._own.nbytes + self._prompts.nbytes

    @property
    def free_prompts(self) -> int:
        return self._held.count(None)

    def holds(self, prompt: int) -> bool:
        return prompt in self._held

    def open(
        self, prompts: Sequence[int], forest: Forest, readers: Sequence[Sequence[int]], answers: Sequence[int]
    ) -> Store:
        free = [shelf for shelf, held in enumerate(self._held) if held is None][: len(prompts)]
        for shelf, prompt, length, due in zip(free, prompts, forest.lengths, answers, strict=True):
            self._held[shelf], self._lengths[shelf], self._due[shelf] = prompt, length, due
        for prompt, slots in zip(prompts, readers, strict=True):
            self.join(prompt, slots)
        return prompt_store(self._prompts, forest, [[shelf] for shelf in free])

    def join(self, prompt: int, slots: Sequence[int]) -> None:
        shelf = self._held.index(prompt)
        for slot in slots:
            self._shelf_of[slot] = shelf
        self._readers = None

    def close(self, slot: int) -> None:
        shelf = self._shelf_of[slot]
        assert shelf is not None, "only an answer's slot is closed"
        self._shelf_of[slot] = None
        self._due[shelf] -= 1
        if not self._due[shelf]:
            self._held[shelf] = None
        self._readers = None

    def move(self, source: int, target: int) -> None:
        self._own.move(source, target, self._own.capacity)
        self._shelf_of[target], self._shelf_of[source] = self._shelf_of[source], None
        self._readers = None

    def step(self, positions: Tensor, scale: float) -> Attend:
        own, prompts, rows = self._own, self._prompts, len(positions)
        if self._readers is None or len(self._readers.starts) != rows:
            self._readers = self._arrange(rows)
        readers = self._readers
        shelves, most, before = readers.shelves, readers.most, readers.bias.shape[-1]
        after = (positions - readers.starts).clamp_(min=0)  # a hole stands at 0
        longest = int(after.max()) + 1
        own.reserve(longest)
        length = round_up(longest)
        places = own.places(torch.arange(rows, device=positions.device), after)
        bias = torch.cat([readers.bias, own.bias(after + 1, length)], dim=-1)
        kv_heads = own.shape.num_kv_heads

        def by_shelf(x: Tensor) -> Tensor:
            """[N, H, E] -> [P K, R G, E]."""
            placed = x if readers.rows is None else x.index_select(0, readers.rows)
            shape = (shelves, most, kv_heads, x.shape[1] // kv_heads, x.shape[2])
            return placed.reshape(shape).transpose(1, 2).reshape(shelves * kv_heads, -1, x.shape[2])

        def by_row(x: Tensor, heads: int) -> Tensor:
            """[P K, R G, E] -> [N, H, E]."""
            shape = (shelves, kv_heads, most, heads // kv_heads, x.shape[2])
            placed = x.view(shape).transpose(1, 2).reshape(shelves * most, heads, x.shape[2])
            return placed if readers.places is None else placed.index_select(0, readers.places)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            own.write(layer, places, key, value)
            _, heads, width = query.shape
            split = (rows, kv_heads, heads // kv_heads, -1)
            queries = query.to(own.shape.dtype)
            prompt_keys = prompts.keys[layer][:shelves, :, :before].flatten(0, 1)
            own_keys = own.keys[layer][:rows, :, :length].flatten(0, 1)
            shared = torch.bmm(by_shelf(queries), prompt_keys.transpose(1, 2))
            alone = torch.bmm(pad_group(queries.view(split)).flatten(0, 1), own_keys.transpose(1, 2))
            alone = alone.unflatten(0, (rows, kv_heads))[:, :, : split[2]]
            scores = torch.cat([by_row(shared, heads).view(split), alone], dim=-1)
            weights = softmax_(scores.view(rows, heads, -1), bias, scale)
            prompt_values = prompts.values[layer][:shelves, :, :before].flatten(0, 1)
            own_values = own.values[layer][:rows, :, :length].flatten(0, 1)
            shared = by_row(torch.bmm(by_shelf(weights[:, :, :before]), prompt_values), heads)
            after_weights = pad_group(weights[:, :, before:].unflatten(1, split[1:3])).flatten(0, 1)
            mixed = torch.bmm(after_weights, own_values)[:, : split[2]].reshape(rows, heads, width)
            return (shared + mixed).to(query.dtype)

        return attend

    def _arrange(self, rows: int) -> _Readers:
        """Lay the rows out by shelf."""
        shelf_of = [0 if shelf is None else shelf for shelf in self._shelf_of[:rows]]  # holes read any shelf
        shelves = max(shelf_of) + 1
        members: list[list[int]] = [[] for _ in range(shelves)]
        for row, shelf in enumerate(shelf_of):
            members[shelf].append(row)
        most = max(len(own) for own in members)
        order = [own + [0] * (most - len(own)) for own in members]
        place = [0] * rows
        for shelf, own in enumerate(members):
            for rank, row in enumerate(own):
                place[row] = shelf * most + rank
        device = self._own.shape.device
        starts = torch.tensor([self._lengths[shelf] for shelf in shelf_of], device=device)
        in_order = place == list(range(rows)) and shelves * most == rows
        return _Readers(
            shelves=shelves,
            most=most,
            rows=None if in_order else torch.tensor(order, device=device).view(-1),
            places=None if in_order else torch.tensor(place, device=device),
            starts=starts,
            bias=self._prompts.bias(starts, round_up(int(starts.max()))),
        )
