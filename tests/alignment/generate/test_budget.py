"""How much memory the keys and values of a decoding take: of a machine, and of large models' shapes."""

from __future__ import annotations

import types

import psutil
import pytest
import torch

from alignment.errors import UsageError
from alignment.generate.budget import cache_budget, room_for, whole_power
from alignment.generate.engine import Engine
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.cache import CacheShape
from alignment.model.llama import LlamaPolicy
from alignment.model.settings import ModelSettings

GIB = 1 << 30
CPU = torch.device("cpu")


def shape_of(size: str, dtype: torch.dtype) -> CacheShape:
    """The cache of one of the family's sizes, with no weight made."""
    settings = ModelSettings(size=size)  # type: ignore[arg-type]
    width, layers, heads, kv_heads, _ = settings.shape()
    return CacheShape(num_layers=layers, num_kv_heads=kv_heads, head_dim=width // heads, dtype=dtype, device=CPU)


def test_a_cpu_gives_half_of_what_is_available_as_a_power_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=23 * GIB))
    assert cache_budget(CPU) == 8 * GIB


def test_a_gpu_gives_most_of_what_is_free_and_of_what_torch_holds_in_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 28 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 18 * GIB)
    assert cache_budget(torch.device("cuda", 0)) == 48 * GIB


def test_a_full_machine_still_gives_a_small_models_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=GIB // 4))
    assert cache_budget(CPU) == GIB


@pytest.mark.parametrize(("number", "power"), [(0, 0), (1, 1), (1023, 512), (1024, 1024)])
def test_a_budget_is_rounded_down_to_a_power_of_two(number: int, power: int) -> None:
    assert whole_power(number) == power


@pytest.mark.parametrize(
    ("size", "gpus", "slots"), [("7b", 1, 64), ("70b", 8, 64)], ids=["7B on one 80 GB card", "70B over eight"]
)
def test_64_answers_of_a_large_model_decode_together_on_80_gb_cards(size: str, gpus: int, slots: int) -> None:
    settings = ModelSettings(size=size)  # type: ignore[arg-type]
    weights = 2 * settings.num_parameters(32_000)  # bf16
    free = int((80 * 10**9 * gpus - weights) * 0.8)
    room = room_for(
        shape_of(size, torch.bfloat16),
        prompts=64,
        answers=64,
        prompt=512,
        new=1024,
        most=1536,
        max_slots=256,
        budget=free,
    )
    assert room.slots == slots


def test_seven_billion_parameters_in_fp32_get_as_many_slots_as_fit() -> None:
    shape = shape_of("7b", torch.float32)
    room = room_for(shape, prompts=64, answers=64, prompt=512, new=1024, most=1536, max_slots=256, budget=24 * GIB)
    assert room.slots == 24 * GIB // shape.bytes_of(1536) == 16


def test_an_engine_asks_for_free_memory_and_says_what_one_answer_needs(
    model: LlamaPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []

    def little(device: torch.device) -> int:
        asked.append(device)
        return 1000

    monkeypatch.setattr("alignment.generate.engine.cache_budget", little)
    request = SampleRequest(id="a", prompt_ids=(1, 2, 3), seeds=(0,))
    with pytest.raises(UsageError, match=r"free for keys and values are 1000; one answer of \d+ positions needs"):
        Engine(model, eos_ids=[]).sample([request], SamplingSettings(max_new_tokens=20))
    assert asked == [CPU]
