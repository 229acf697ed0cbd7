"""How much memory the keys and values of a decoding may take: what is free where the model lies.

Fewer slots decode more slowly and give the same samples (but for rounding), so the budget is asked anew at each call
and is a power of two: what another process takes meanwhile seldom changes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from alignment.generate.limits import SHARE
from alignment.model.cache import CacheShape

_GIB = 1 << 30
_SHARED_FROM = 2  # answers a prompt from which prompts are stored once


def cache_budget(device: torch.device) -> int:
    """Bytes for keys and values on a device: a share of what is free there, 1 GiB at least.

    On a GPU it is 0.8 of the free memory, that which torch keeps in reserve included; on a CPU half of what the
    machine has available, rounded down to a power of two.  On a device without memory ("meta") it is 1 GiB.
    """
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return at_least_one(int((torch.cuda.mem_get_info(device)[0] + reserved) * SHARE["cuda"]))
    if device.type == "cpu":
        return at_least_one(whole_power(int(psutil.virtual_memory().available * SHARE["cpu"])))
    return _GIB


def at_least_one(num_bytes: int) -> int:
    """1 GiB where less is free: a small model's cache is far below it, and a large one's refusal says what it needs."""
    return max(num_bytes, _GIB)


def whole_power(num_bytes: int) -> int:
    """The largest power of two that is not above a number from 1; 0 of 0."""
    return 1 << (num_bytes.bit_length() - 1) if num_bytes > 0 else 0


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a budget has room for.

    Attributes:
        slots: answers that decode together.
        shelves: prompts that are held for them, each once; 0: every slot holds its own prompt too.
        need: bytes of one answer with its prompt.
    """

    slots: int
    shelves: int
    need: int


def room_for(
    shape: CacheShape, *, prompts: int, answers: int, prompt: int, new: int, most: int, max_slots: int, budget: int
) -> Room:
    """Slots and shelves that are useful, allowed and affordable.

    Args:
        prompts: how many there are; answers: to all of them together.
        prompt: tokens of the longest prompt; new: most tokens of an answer; most: of a prompt and its answer.
        max_slots: most answers to decode together.
        budget: bytes of keys and values.

    Returns:
        The room; no slot where not even one answer fits.
    """
    slots = min(max_slots, answers)
    need = shape.bytes_of(most)
    if answers >= _SHARED_FROM * prompts:
        # twice the prompts that fill the slots, so that one long answer keeps no slot empty
        shelves = min(prompts, 2 * -(-slots * prompts // answers))
        beside = budget - shape.bytes_of(prompt)
        shared = min(slots, beside // shape.bytes_of(new))
        if shared >= 1:
            left = beside - shared * shape.bytes_of(new)
            return Room(slots=shared, shelves=min(shelves, 1 + left // shape.bytes_of(prompt)), need=need)
    return Room(slots=min(slots, budget // need), shelves=0, need=need)
