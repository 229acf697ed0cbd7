"""The vLLM sampler against a stand-in for TRL's client: what it asks for, and what it makes of the answer."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch

from alignment.errors import AlignmentError, MissingExtra, RequestTooLong
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.generate.vllm import VLLMSampler


class Client:
    """Answers a prompt with its seed's digits, then the end token 2 if there is room."""

    def __init__(self, base_url: str, connection_timeout: float) -> None:
        if "nowhere" in base_url:
            raise ConnectionError("refused")
        self.asked: list[dict[str, Any]] = []
        self.calls: list[str] = []

    def generate(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        tokens = [10 + int(digit) for digit in str(asked["generation_kwargs"]["seed"])] + [2]
        tokens = tokens[: asked["max_tokens"]]
        return {
            "prompt_ids": asked["prompts"],
            "completion_ids": [tokens],
            "logprobs": [[[-0.1 * token] for token in tokens]],
        }

    def init_communicator(self, device: object) -> None:
        self.calls.append(f"init {device}")

    def update_model_params(self, model: torch.nn.Module) -> None:
        self.calls.append(f"weights {sum(1 for _ in model.parameters())}")

    def reset_prefix_cache(self) -> None:
        self.calls.append("reset")

    def close_communicator(self) -> None:
        self.calls.append("close")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("trl.generation.vllm_client")
    module.VLLMClient = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", types.ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "trl.generation.vllm_client", module)


def sampler(**changes: Any) -> VLLMSampler:
    return VLLMSampler("http://localhost:8000", **{"context": 64, "vocabulary": 97, "eos_ids": [2], **changes})


REQUESTS = [
    SampleRequest(id="a", prompt_ids=(1, 3), seeds=(12, 345)),
    SampleRequest(id="b", prompt_ids=(1,) * 62, seeds=(6789,)),
]


def test_without_vllm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtra, match="'vllm'"):
        sampler()


@pytest.mark.usefixtures("installed")
def test_every_answer_is_asked_for_with_its_own_seed_and_limit() -> None:
    ours = sampler()
    seen: list[tuple[str, int]] = []
    answers = ours.sample(
        REQUESTS,
        SamplingSettings(temperature=0.7, top_p=0.8, top_k=9, max_new_tokens=5),
        lambda request, index, _: seen.append((request.id, index)),
    )
    assert [[sample.token_ids for sample in own] for own in answers] == [
        [(11, 12, 2), (13, 14, 15, 2)],
        [(16, 17)],
    ]
    assert [[sample.finish_reason for sample in own] for own in answers] == [["stop", "stop"], ["length"]]
    assert answers[0][0].log_probs == pytest.approx((-1.1, -1.2, -0.2))
    assert sorted(seen) == [("a", 0), ("a", 1), ("b", 0)]
    asked = {call["generation_kwargs"]["seed"]: call for call in ours.client.asked}
    assert asked[345]["prompts"] == [[1, 3]]
    assert (asked[345]["temperature"], asked[345]["top_p"], asked[345]["top_k"]) == (0.7, 0.8, 9)
    assert (asked[12]["max_tokens"], asked[6789]["max_tokens"]) == (5, 2)
    assert asked[12]["generation_kwargs"]["stop_token_ids"] == [2]


@pytest.mark.usefixtures("installed")
def test_stop_texts_are_asked_for_and_cut_off() -> None:
    ours = sampler(decode=lambda tokens: "".join(chr(55 + token) for token in tokens))
    chosen = SamplingSettings(temperature=1.0, stop=("D",))
    sample = ours.sample([SampleRequest(id="a", prompt_ids=(1,), seeds=(123,))], chosen)[0][0]
    assert sample.token_ids == (11, 12)
    assert sample.finish_reason == "stop"
    assert ours.client.asked[0]["generation_kwargs"]["stop"] == ["D"]


@pytest.mark.usefixtures("installed")
def test_greedy_tokens_have_probability_one() -> None:
    assert sampler().sample(REQUESTS[:1], SamplingSettings(temperature=0.0))[0][0].log_probs == (
        0.0,
        0.0,
        0.0,
    )


@pytest.mark.usefixtures("installed")
def test_weights_go_through_one_communicator_and_end_the_old_cache() -> None:
    ours = sampler()
    model = torch.nn.Linear(2, 3)
    ours.update_weights(model)
    ours.update_weights(model)
    ours.close()
    ours.close()
    assert ours.client.calls == ["init cpu", "weights 2", "reset", "weights 2", "reset", "close"]


@pytest.mark.usefixtures("installed")
def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(AlignmentError, match="no vLLM server answers at http://nowhere"):
        VLLMSampler("http://nowhere", context=64, vocabulary=97, eos_ids=[2])


@pytest.mark.usefixtures("installed")
def test_a_prompt_without_room_is_refused_before_the_server_is_asked() -> None:
    ours = sampler(context=62)
    with pytest.raises(RequestTooLong, match="'b'"):
        ours.sample(REQUESTS, SamplingSettings())
    assert ours.client.asked == []
