"""Sampling from a policy with an adapter around it is sampling from the merged model, packed weights or not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from alignment.generate.draw import make_sampler
from alignment.generate.engine import Engine
from alignment.generate.packed import PackedDecoder
from alignment.generate.sampler import Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.policy.adapted import adapt, merge
from alignment.policy.policy import Policy
from alignment.policy.settings import AdapterSettings
from tests.tolerances import FP32_SAME_CODE

pytest.importorskip("peft", reason="the extra 'peft' is not installed")
REQUESTS = [SampleRequest(id=str(i), prompt_ids=(1, 5 + i, 9, 30), seeds=(i, 100 + i)) for i in range(3)]
SAMPLING = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=12)


def drawn(policy: Policy) -> list[Sample]:
    return [sample for answers in make_sampler(policy).sample(REQUESTS, SAMPLING) for sample in answers]


def moved(policy: Policy) -> Policy:
    """The policy with an adapter around it that has learnt something."""
    wrapped = adapt(policy.model, AdapterSettings(targets="all-linear", dropout=0.5), seed=0)
    draws = torch.Generator().manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=draws)
    return replace(policy, model=wrapped)


@pytest.fixture(params=["packed", "plain"])
def _decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's passes over packed weights, and over the layers as they are."""
    if request.param == "plain":
        monkeypatch.setattr("alignment.generate.engine.can_pack", lambda model, precision: False)


@pytest.mark.usefixtures("_decoder")
def test_it_gives_the_answers_of_the_merged_weights(policy: Policy) -> None:
    plain = drawn(policy)
    adapted = moved(policy)
    with_adapter = drawn(adapted)
    merged = drawn(replace(policy, model=merge(adapted.model)))
    assert [sample.token_ids for sample in with_adapter] == [sample.token_ids for sample in merged]
    for one, other in zip(with_adapter, merged, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=10 * FP32_SAME_CODE)
    assert [sample.token_ids for sample in plain] != [sample.token_ids for sample in merged]


@pytest.mark.usefixtures("_decoder")
def test_a_sampler_follows_an_adapter_that_goes_on_learning(policy: Policy) -> None:
    adapted = moved(policy)
    sampler = make_sampler(adapted)
    before = sampler.sample(REQUESTS, SAMPLING)
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(-1.0)
    after = [sample.token_ids for answers in sampler.sample(REQUESTS, SAMPLING) for sample in answers]
    assert after != [sample.token_ids for answers in before for sample in answers]
    assert after == [sample.token_ids for sample in drawn(replace(policy, model=merge(deepcopy(adapted.model))))]


def test_the_adapter_is_sampled_by_the_engine_and_its_packed_weights(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[PackedDecoder] = []
    build: Callable[..., None] = PackedDecoder.__init__
    monkeypatch.setattr(PackedDecoder, "__init__", lambda self, *args: (packed.append(self), build(self, *args))[1])
    adapted = moved(policy)
    assert isinstance(make_sampler(adapted), Engine)
    drawn(adapted)
    assert len(packed) == 1


def test_dropout_is_no_part_of_it_while_the_model_trains(policy: Policy) -> None:
    adapted = moved(policy)
    adapted.model.train()
    training = [sample.token_ids for sample in drawn(adapted)]
    assert all(module.training for module in adapted.model.modules())
    adapted.model.eval()
    assert training == [sample.token_ids for sample in drawn(adapted)]
