"""Tiny models whose answers differ from prompt to prompt, and requests for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import LlamaConfig

from alignment.generate.sampler import SampleRequest
from alignment.model.llama import LlamaPolicy

VOCABULARY = 97
CONTEXT = 96


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., LlamaPolicy]:
    """A tiny model with large random weights, so that its distributions are far from flat."""

    def make(kv_heads: int = 2, seed: int = 1, dtype: torch.dtype = torch.float32, **changes: object) -> LlamaPolicy:
        torch.manual_seed(seed)
        config = LlamaConfig(
            **{
                "vocab_size": VOCABULARY,
                "hidden_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4 if kv_heads != 1 else 3,
                "num_key_value_heads": kv_heads,
                "intermediate_size": 48,
                "max_position_embeddings": CONTEXT,
                "initializer_range": 0.3,
                **changes,
            }
        )
        model = LlamaPolicy(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" in name or name.endswith("bias"):
                    weight.add_(0.3 * torch.randn_like(weight))
        return model.to(dtype).eval()

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., LlamaPolicy]) -> LlamaPolicy:
    return make_model()


@pytest.fixture(scope="session")
def make_requests() -> Callable[..., list[SampleRequest]]:
    """Requests with prompts of the given lengths and `answers` seeds each."""

    def make(lengths: Sequence[int], answers: int = 1, seed: int = 0) -> list[SampleRequest]:
        draw = torch.Generator().manual_seed(seed)
        return [
            SampleRequest(
                id=f"r{number}",
                prompt_ids=tuple(torch.randint(0, VOCABULARY, (length,), generator=draw).tolist()),
                seeds=tuple(1000 * number + k for k in range(answers)),
            )
            for number, length in enumerate(lengths)
        ]

    return make
