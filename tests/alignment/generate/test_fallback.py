"""Sampling through `generate`: the same samples as the engine's, for any architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from alignment.errors import RequestTooLong, UsageError
from alignment.generate.engine import Engine
from alignment.generate.fallback import GenerateSampler
from alignment.generate.sampler import Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.attention import register_forest_attention
from alignment.model.llama import LlamaPolicy

CHAT = SamplingSettings(temperature=0.8, top_p=0.9, max_new_tokens=12)
EOS = (5, 50)


@pytest.fixture(scope="module")
def qwen() -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
        attn_implementation=register_forest_attention(),
    )
    model = Qwen2ForCausalLM(config).eval()
    model.generation_config.repetition_penalty = 1.7
    model.generation_config.temperature = 0.01
    return model


def test_samples_equal_the_engine_s(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    theirs = LlamaForCausalLM(model.config).eval()
    theirs.load_state_dict(model.state_dict())
    requests = make_requests([4, 9, 4, 1], answers=3)
    for chosen in (CHAT, SamplingSettings(temperature=0.0, max_new_tokens=12)):
        fallback = GenerateSampler(theirs, eos_ids=EOS, max_rows=4).sample(requests, chosen)
        for own, expected in zip(fallback, Engine(model, eos_ids=EOS).sample(requests, chosen), strict=True):
            for sample, other in zip(own, expected, strict=True):
                assert (sample.token_ids, sample.finish_reason) == (other.token_ids, other.finish_reason)
                assert sample.log_probs == pytest.approx(other.log_probs, rel=1e-5, abs=1e-5)


def test_other_architectures_sample_by_seed_and_prompt_alone(
    qwen: PreTrainedModel, make_requests: Callable[..., list]
) -> None:
    requests = make_requests([4, 9, 4], answers=4)
    seen: list[tuple[str, int]] = []
    together = GenerateSampler(qwen, eos_ids=EOS, max_rows=5).sample(
        requests, CHAT, lambda request, index, _: seen.append((request.id, index))
    )
    assert sorted(seen) == [(f"r{n}", k) for n in range(3) for k in range(4)]
    for request, own in zip(requests, together, strict=True):
        for seed, sample in zip(request.seeds, own, strict=True):
            one = SampleRequest(id="x", prompt_ids=request.prompt_ids, seeds=(seed,))
            assert GenerateSampler(qwen, eos_ids=EOS).sample([one], CHAT)[0][0].token_ids == sample.token_ids


def test_log_probs_are_those_of_the_model_and_not_of_its_generation_config(
    qwen: PreTrainedModel, make_requests: Callable[..., list]
) -> None:
    (request,) = make_requests([7], answers=3)
    chosen = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=12)
    for sample in GenerateSampler(qwen, eos_ids=EOS).sample([request], chosen)[0]:
        tokens = torch.tensor([[*request.prompt_ids, *sample.token_ids]])
        with torch.no_grad():
            scores = qwen(tokens).logits[0, 6:-1].log_softmax(-1)
        expected = scores.gather(1, tokens[0, 7:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(sample.log_probs), expected, atol=1e-5, rtol=1e-5)


def test_answers_end_by_end_token_context_and_stop_text(
    qwen: PreTrainedModel, make_requests: Callable[..., list]
) -> None:
    def spell(tokens: object) -> str:
        return "".join(chr(ord("0") + token) for token in tokens)

    def draw(**changes: object) -> list[Sample]:
        chosen = SamplingSettings(**{"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 30, **changes})
        return [own[0] for own in GenerateSampler(qwen, eos_ids=EOS, decode=spell).sample(requests, chosen)]

    requests = make_requests([60, 8, 8, 8])
    free = draw()
    assert len(free[0].token_ids) <= 4
    for sample in free:
        assert (sample.token_ids[-1] in EOS) == (sample.finish_reason == "stop")
    held = draw(stop=(spell(free[1].token_ids[2:4]),))
    assert held[1].token_ids == free[1].token_ids[:2]
    assert held[1].finish_reason == "stop"


def test_impossible_requests_are_refused(qwen: PreTrainedModel) -> None:
    sampler = GenerateSampler(qwen, eos_ids=EOS)
    with pytest.raises(RequestTooLong, match=r"'a'.*64 tokens.*context 64"):
        sampler.sample([SampleRequest(id="a", prompt_ids=(1,) * 64, seeds=(1,))], CHAT)
    with pytest.raises(UsageError, match="without one"):
        sampler.sample([], SamplingSettings(stop=("x",)))
    assert sampler.sample([SampleRequest(id="a", prompt_ids=(1,), seeds=())], CHAT) == [[]]
