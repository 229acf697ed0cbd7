"""The key/value cache of decoding: preallocated, one slot an answer, grouped heads stored once.

Shapes: S slots, N rows in use (slots 0 … N-1), K key/value heads, G query heads a key/value head,
D head width, L capacity (positions a slot holds), T tokens of a prefill.
Keys are stored rotated.  A slot that is reused keeps the numbers of its former answer behind its
length; they are finite and masked, so they cannot be seen.

`SlotCache` holds each answer whole; `alignment.model.prompt_cache` holds shared prompts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignment.model.forest import Forest

# (layer, key [T, K, D], value [T, K, D]): keeps what a prefill computed
Store = Callable[[int, Tensor, Tensor], None]
# (layer, query [N, H, D], key [N, K, D], value [N, K, D]) -> [N, H, D]: keeps and attends
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]

_STEP = 16  # lengths that attention reads are rounded up to a multiple of it


@dataclass(frozen=True, kw_only=True)
class CacheShape:
    """What one position of one model needs."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def bytes_of(self, positions: int) -> int:
        """Keys and values of one run of that many positions."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * round_up(positions) * self.dtype.itemsize


def round_up(length: int, step: int = _STEP) -> int:
    """The next multiple of `step`."""
    return -(-length // step) * step


class Slots:
    """S runs of keys and values of L positions each, in every layer: memory and its arithmetic.

    Args:
        shape: the model's.
        slots: S.
        capacity: L to begin with.
        most: positions that L may grow to.
    """

    def __init__(self, shape: CacheShape, slots: int, capacity: int, most: int) -> None:
        self.shape, self.slots = shape, slots
        self.capacity, self.most = round_up(min(capacity, most)), round_up(most)
        size = (slots, shape.num_kv_heads, self.capacity, shape.head_dim)
        # zeros, not empty: a masked place has weight 0, and 0 x NaN would be NaN
        new = [torch.zeros(size, dtype=shape.dtype, device=shape.device) for _ in range(2 * shape.num_layers)]
        self.keys, self.values = new[::2], new[1::2]
        self._heads = torch.arange(shape.num_kv_heads, device=shape.device)

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self.slots * self.shape.bytes_of(self.capacity)

    def reserve(self, capacity: int) -> None:
        """Make room for that many positions; half as many again at least, so that copies are few."""
        if capacity <= self.capacity:
            return
        grown = min(self.most, round_up(max(capacity, self.capacity + self.capacity // 2)))
        assert capacity <= grown, "the caller knows how long an answer may get"
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                new = old.new_zeros(old.shape[0], old.shape[1], grown, old.shape[3])
                new[:, :, : self.capacity] = old
                tensors[layer] = new
        self.capacity = grown

    def places(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Where `write` puts tokens: [M] slots, [M] positions -> [M K] flat indices."""
        runs = slots[:, None] * len(self._heads) + self._heads
        return (runs * self.capacity + positions[:, None]).view(-1)

    def write(self, layer: int, places: Tensor, key: Tensor, value: Tensor) -> None:
        """Keep keys and values [M, K, D] of one layer."""
        width = key.shape[-1]
        for memory, new in ((self.keys[layer], key), (self.values[layer], value)):
            memory.view(-1, width).index_copy_(0, places, new.reshape(-1, width).to(self.shape.dtype))

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]

    def bias(self, lengths: Tensor, width: int) -> Tensor:
        """0 where a row of that length has a key, -inf behind it: [M] -> [M, 1, width]."""
        behind = torch.arange(width, device=lengths.device) >= lengths[:, None]
        bias = torch.zeros(behind.shape, dtype=self.shape.dtype, device=lengths.device)
        return bias.masked_fill_(behind, float("-inf"))[:, None, :]


def prompt_store(memory: Slots, forest: Forest, readers: Sequence[Sequence[int]]) -> Store:
    """Write each root of a forest into all its slots, from position 0.

    Args:
        memory: with room for the longest root.
        forest: P roots.
        readers: for each root its slots.
    """
    source: list[Tensor] = []
    slots: list[Tensor] = []
    for prompt, own in enumerate(readers):
        tokens = forest.tokens_of(prompt)
        for slot in own:
            source.append(torch.arange(tokens.start, tokens.stop))
            slots.append(torch.full((len(tokens),), slot))
    rows = torch.cat(source)
    positions = torch.from_numpy(forest.positions)[rows].to(memory.shape.device)
    places = memory.places(torch.cat(slots).to(memory.shape.device), positions)
    rows = rows.to(memory.shape.device)
    once = all(len(own) == 1 for own in readers)

    def store(layer: int, key: Tensor, value: Tensor) -> None:
        if once:
            memory.write(layer, places, key, value)
        else:
            memory.write(layer, places, key[rows], value[rows])

    return store


class Cache(Protocol):
    """What the engine decodes with; prompts have the keys that the engine gives them."""

    slots: int

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values held now."""
        ...

    @property
    def free_prompts(self) -> int:
        """How many more prompts there is room for."""
        ...

    def holds(self, prompt: int) -> bool:
        """Whether a prompt is stored, so that more answers may `join` it."""
        ...

    def open(
        self, prompts: Sequence[int], forest: Forest, readers: Sequence[Sequence[int]], answers: Sequence[int]
    ) -> Store:
        """Make room for prompts, the roots of a forest.

        Args:
            prompts: their keys.
            forest: their lengths.
            readers: for each prompt the slots that answer it now.
            answers: for each prompt how many answers it is to have in all.
        """
        ...

    def join(self, prompt: int, slots: Sequence[int]) -> None:
        """Let more slots answer a stored prompt."""
        ...

    def close(self, slot: int) -> None:
        """An answer left its slot."""
        ...

    def move(self, source: int, target: int) -> None:
        """An answer moves to a free slot."""
        ...

    def step(self, positions: Tensor, scale: float) -> Attend:
        """Attention for one new token a row.

        Args:
            positions: [N] where the new token of slots 0 … N-1 stands, counted from the prompt's start.
            scale: multiplies the scores.
        """
        ...


class SlotCache:
    """Each answer in its own slot, a copy of its prompt included; arguments as of `Slots`."""

    def __init__(self, shape: CacheShape, *, slots: int, capacity: int, most: int) -> None:
        self.slots = slots
        self._memory = Slots(shape, slots, capacity, most)

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    @property
    def free_prompts(self) -> int:
        return self.slots

    def holds(self, prompt: int) -> bool:
        return False

    def open(
        self, prompts: Sequence[int], forest: Forest, readers: Sequence[Sequence[int]], answers: Sequence[int]
    ) -> Store:
        self._memory.reserve(max(forest.lengths) + 1)
        return prompt_store(self._memory, forest, readers)

    def join(self, prompt: int, slots: Sequence[int]) -> None:
        raise AssertionError("a slot's prompt is its own; prefill it")

    def close(self, slot: int) -> None:
        """Nothing to do: the slot's numbers are masked until they are overwritten."""

    def move(self, source: int, target: int) -> None:
        self._memory.move(source, target, self._memory.capacity)

    def step(self, positions: Tensor, scale: float) -> Attend:
        memory, rows = self._memory, len(positions)
        longest = int(positions.max()) + 1
        memory.reserve(longest)
        length = min(round_up(longest), memory.capacity)
        places = memory.places(torch.arange(rows, device=positions.device), positions)
        bias = memory.bias(positions + 1, length)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            memory.write(layer, places, key, value)
            keys = memory.keys[layer][:rows, :, :length].flatten(0, 1)
            values = memory.values[layer][:rows, :, :length].flatten(0, 1)
            grouped = group_queries(query, memory.shape)
            scores = torch.bmm(grouped, keys.transpose(1, 2)).view(rows, -1, length)
            weights = softmax_(scores, bias, scale).view(len(keys), -1, length)
            return ungroup(torch.bmm(weights, values), query)

        return attend


def group_queries(query: Tensor, shape: CacheShape) -> Tensor:
    """Queries of one key/value head as one small matrix, so that no key is repeated.

    [N, K G, D] -> [N K, G', D] in the cache's dtype.  G' is G, or 4 for G = 3 on a CPU in fp32: there
    a batched product with 4 rows takes little more than half the time of one with 3.
    """
    rows, heads, width = query.shape
    group = heads // shape.num_kv_heads
    grouped = query.reshape(rows * shape.num_kv_heads, group, width).to(shape.dtype)
    if group == 3 and shape.dtype == torch.float32 and query.device.type == "cpu":
        return pad(grouped, (0, 0, 0, 1))
    return grouped


def ungroup(mixed: Tensor, query: Tensor) -> Tensor:
    """Back from [N K, G', D] to the shape and dtype of the queries."""
    group = query.shape[0] * query.shape[1] // mixed.shape[0]
    return mixed[:, :group].reshape(query.shape).to(query.dtype)


def pad_group(x: Tensor) -> Tensor:
    """Rows of a small matrix [.., G, E] that a batched product likes: G, or 4 for G = 3 in fp32 on a CPU.

    There a product with 4 rows takes little more than half the time of one with 3.
    """
    if x.shape[-2] == 3 and x.dtype == torch.float32 and x.device.type == "cpu":
        return pad(x, (0, 0, 0, 1))
    return x


def softmax_(scores: Tensor, bias: Tensor, scale: float) -> Tensor:
    """softmax(scale * scores + bias) over the last dimension, in fp32; may overwrite the scores."""
    if scale != 1.0:
        scores.mul_(scale)
    wide = torch.float64 if scores.dtype == torch.float64 else torch.float32
    return scores.add_(bias).softmax(-1, dtype=wide).to(scores.dtype)
