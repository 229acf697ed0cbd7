"""The engine against transformers' `generate`, against a scoring pass, and against its own surroundings."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from alignment.generate.decoder import Decoder
from alignment.generate.engine import Engine
from alignment.generate.sampler import Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.attention import plan_attention
from alignment.model.forest import Forest
from alignment.model.llama import LlamaPolicy
from alignment.model.log_probs import token_log_probs

EOS = 5
GREEDY = SamplingSettings(temperature=0.0, max_new_tokens=24)
ALL = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=24)
CHAT = SamplingSettings(temperature=0.6, top_p=0.9, max_new_tokens=24)
LOG_PROB = 1e-5  # cached decoding against the full forward, fp32


class PlainEngine(Engine):
    """The engine over the core's own layers, as it runs on a GPU and for large models."""

    def _decoder(self, answers: Sequence[object]) -> Decoder:
        return Decoder(self.model)


def as_transformers(model: LlamaPolicy) -> LlamaForCausalLM:
    theirs = LlamaForCausalLM(model.config).eval()
    theirs.load_state_dict(model.state_dict())
    return theirs


def greedy_by_transformers(model: LlamaForCausalLM, request: SampleRequest, most: int) -> list[int]:
    prompt = torch.tensor([request.prompt_ids])
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=EOS,
        pad_token_id=0,
    )
    return out[0, prompt.shape[1] :].tolist()


def scored(model: LlamaPolicy, request: SampleRequest, sample: Sample, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities of an answer by one full forward pass."""
    tokens = torch.tensor([*request.prompt_ids, *sample.token_ids])
    with torch.no_grad():
        hidden = model.model.flat(tokens, plan_attention(Forest.roots([len(tokens)])))
        before = hidden[len(request.prompt_ids) - 1 : -1]
        answer = tokens[len(request.prompt_ids) :]
        return token_log_probs(before, model.lm_head.weight, answer, temperature=temperature)


@pytest.mark.parametrize("engine", [Engine, PlainEngine])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_greedy_answers_equal_generate_token_for_token(
    engine: type[Engine],
    kv_heads: int,
    make_model: Callable[..., LlamaPolicy],
    make_requests: Callable[..., list],
) -> None:
    model = make_model(kv_heads)
    theirs = as_transformers(model)
    requests = make_requests([1, 3, 9, 17, 40, 5, 6])
    answers = engine(model, eos_ids=[EOS], max_slots=3).sample(requests, GREEDY)
    expected = [greedy_by_transformers(theirs, request, 24) for request in requests]
    assert [list(own[0].token_ids) for own in answers] == expected
    assert {own[0].finish_reason for own in answers} == {
        "stop" if tokens[-1] == EOS else "length" for tokens in expected
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True, "mlp_bias": True},
        {"tie_word_embeddings": True},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        {"head_dim": 16},
    ],
    ids=["bias", "tied", "llama3-rope", "head-dim"],
)
def test_greedy_answers_equal_generate_for_every_shape_of_llama(
    changes: dict[str, object], make_model: Callable[..., LlamaPolicy], make_requests: Callable[..., list]
) -> None:
    model = make_model(**changes)
    theirs = as_transformers(model)
    requests = make_requests([4, 30, 11])
    answers = Engine(model, eos_ids=[EOS]).sample(requests, GREEDY)
    for request, own in zip(requests, answers, strict=True):
        assert list(own[0].token_ids) == greedy_by_transformers(theirs, request, 24)


def test_answers_end_with_the_end_token_and_hold_none_before_it(
    model: LlamaPolicy, make_requests: Callable[..., list]
) -> None:
    ends = list(range(0, 97, 4))
    for own in Engine(model, eos_ids=ends).sample(make_requests([3, 8, 20], answers=8), ALL):
        for sample in own:
            assert not set(sample.token_ids[:-1]) & set(ends)
            assert (sample.token_ids[-1] in ends) == (sample.finish_reason == "stop")
            assert len(sample.token_ids) == 24 or sample.finish_reason == "stop"


@pytest.mark.parametrize("answers", [1, 4], ids=["own prompt", "shared prompt"])
@pytest.mark.parametrize("engine", [Engine, PlainEngine])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kv_heads", [2, 1])
def test_log_probs_equal_those_of_a_scoring_pass(
    answers: int,
    engine: type[Engine],
    temperature: float,
    kv_heads: int,
    make_model: Callable[..., LlamaPolicy],
    make_requests: Callable[..., list],
) -> None:
    model = make_model(kv_heads)
    requests = make_requests([2, 9, 33], answers)
    drawn = engine(model, eos_ids=[EOS], max_slots=5).sample(
        requests, SamplingSettings(temperature=temperature, top_p=1.0, max_new_tokens=24)
    )
    for request, own in zip(requests, drawn, strict=True):
        for sample in own:
            expected = scored(model, request, sample, temperature)
            assert torch.allclose(torch.tensor(sample.log_probs), expected, atol=LOG_PROB, rtol=LOG_PROB)


@pytest.fixture(scope="module")
def alone(model: LlamaPolicy, make_requests: Callable[..., list]) -> Callable[[str, SamplingSettings], list[Sample]]:
    """A request's four answers, each drawn with nothing else in the batch."""

    @cache
    def draw(name: str, chosen: SamplingSettings) -> list[Sample]:
        request = next(r for r in make_requests([3, 7, 1, 25, 12, 8], 4) if r.id == name)
        one_by_one = [SampleRequest(id="x", prompt_ids=request.prompt_ids, seeds=(s,)) for s in request.seeds]
        return [Engine(model, eos_ids=[EOS]).sample([one], chosen)[0][0] for one in one_by_one]

    return draw


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    order=st.randoms(use_true_random=False),
    slots=st.integers(1, 9),
    subset=st.integers(1, 6),
    answers=st.integers(1, 4),
    chosen=st.sampled_from([ALL, CHAT, GREEDY]),
)
def test_a_sample_depends_on_its_seed_and_prompt_alone(
    order: random.Random,
    slots: int,
    subset: int,
    answers: int,
    chosen: SamplingSettings,
    alone: Callable[[str, SamplingSettings], list[Sample]],
    model: LlamaPolicy,
    make_requests: Callable[..., list],
) -> None:
    """Neighbours, batch size, order, slots and shared prompts change no token, and log-probs by rounding only."""
    requests = make_requests([3, 7, 1, 25, 12, 8], answers)
    order.shuffle(requests)
    picked = requests[:subset]
    together = Engine(model, eos_ids=[EOS], max_slots=slots).sample(picked, chosen)
    for request, own in zip(picked, together, strict=True):
        for sample, expected in zip(own, alone(request.id, chosen), strict=False):
            assert sample.token_ids == expected.token_ids
            assert sample.finish_reason == expected.finish_reason
            near = LOG_PROB / min(chosen.temperature or 1.0, 1.0)  # a temperature divides the logits' rounding too
            assert sample.log_probs == pytest.approx(expected.log_probs, rel=near, abs=near)


def test_a_seed_keeps_its_answer_whatever_other_seeds_are_drawn(
    model: LlamaPolicy, make_requests: Callable[..., list]
) -> None:
    (request,) = make_requests([6], answers=5)
    fewer = SampleRequest(id="x", prompt_ids=request.prompt_ids, seeds=request.seeds[3:1:-1])
    engine = Engine(model, eos_ids=[EOS])
    five, two = engine.sample([request], CHAT)[0], engine.sample([fewer], CHAT)[0]
    assert [sample.token_ids for sample in two] == [five[3].token_ids, five[2].token_ids]
    assert len({sample.token_ids for sample in five}) == 5


def test_a_longer_limit_only_continues_an_answer(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    requests = make_requests([6, 11], answers=2)
    engine = Engine(model, eos_ids=[])
    short = engine.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=7))
    long = engine.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=60))
    for few, many in zip(short, long, strict=True):
        for a, b in zip(few, many, strict=True):
            assert len(b.token_ids) == 60
            assert a.token_ids == b.token_ids[:7]


def test_samples_follow_the_model_s_distribution(make_model: Callable[..., LlamaPolicy]) -> None:
    """First tokens of 4,000 answers over a vocabulary of 8: Pearson's statistic below the 1e-4 quantile."""
    model = make_model(vocab_size=8, initializer_range=0.1)
    request = SampleRequest(id="a", prompt_ids=(1, 2, 3), seeds=tuple(range(4000)))
    answers = Engine(model, eos_ids=[], max_slots=500).sample(
        [request], SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=2)
    )[0]
    counts = torch.bincount(torch.tensor([sample.token_ids[0] for sample in answers]), minlength=8)
    with torch.no_grad():
        expected = 4000 * model(torch.tensor([[1, 2, 3]])).logits[0, -1].softmax(-1)
    assert expected.min() > 20
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    assert statistic < 29.88  # chi-square, 7 degrees of freedom
    follow = {sample.token_ids for sample in answers}
    assert len(follow) > 40  # second tokens are not tied to the first ones


def test_adapters_are_taken_in(make_model: Callable[..., LlamaPolicy], make_requests: Callable[..., list]) -> None:
    """A wrapped projection is asked what it does, so a LoRA adapter needs no merging."""

    class Adapted(torch.nn.Module):
        def __init__(self, base: torch.nn.Linear) -> None:
            super().__init__()
            self.base, self.in_features = base, base.in_features
            self.down = torch.nn.Linear(base.in_features, 2, bias=False)
            self.up = torch.nn.Linear(2, base.out_features, bias=False)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.up(self.down(self.dropout(x)))

    model = make_model(seed=4)
    plain = Engine(model, eos_ids=[EOS]).sample(make_requests([5, 9]), GREEDY)
    attention = model.model.layers[1].self_attn
    attention.v_proj = Adapted(attention.v_proj)
    model.train()
    packed = Engine(model, eos_ids=[EOS]).sample(make_requests([5, 9]), GREEDY)
    assert packed == PlainEngine(model, eos_ids=[EOS]).sample(make_requests([5, 9]), GREEDY)
    assert packed != plain
    assert model.training
    assert attention.v_proj.dropout.training


def test_weights_are_read_at_every_call(
    make_model: Callable[..., LlamaPolicy], make_requests: Callable[..., list]
) -> None:
    model, other = make_model(seed=2), make_model(seed=3)
    engine = Engine(model, eos_ids=[EOS])
    before = engine.sample(make_requests([4]), GREEDY)
    model.load_state_dict(other.state_dict())
    after = engine.sample(make_requests([4]), GREEDY)
    assert after == Engine(other, eos_ids=[EOS]).sample(make_requests([4]), GREEDY)
    assert after != before


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_other_precisions_stay_close_to_the_model(
    precision: torch.dtype, model: LlamaPolicy, make_requests: Callable[..., list]
) -> None:
    requests = make_requests([4, 20], answers=3)
    drawn = Engine(model, eos_ids=[EOS], precision=precision).sample(requests, ALL)
    for request, own in zip(requests, drawn, strict=True):
        for sample in own:
            difference = torch.tensor(sample.log_probs) - scored(model, request, sample)
            assert difference.abs().mean() < (0.15 if precision == torch.bfloat16 else LOG_PROB)
    assert model.lm_head.weight.dtype == torch.float32
