"""The language-modelling loss of a forest batch: equal to transformers' Llama on every sequence alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.policy.policy import Policy
from alignment.train.language_model import language_loss, target_log_probs
from tests.tolerances import FP64

# (tokens, tokens that carry loss): a document, a chat turn with two answers to one prompt, a lone token
DOCUMENT, PROMPT, FIRST, SECOND = (1, 9, 4, 7, 11), (1, 20, 21, 22), (30, 31, 2), (40, 2)


def trees() -> list[Tree]:
    return [
        Tree.sequence(DOCUMENT, [False, True, True, True, True]),
        Tree(
            segments=tuple(np.asarray(part, dtype=np.int32) for part in (PROMPT, FIRST, SECOND)),
            trained=(np.zeros(4, dtype=bool), np.ones(3, dtype=bool), np.asarray([True, False])),
            parents=(-1, 0, 0),
        ),
        Tree.sequence((1,), [False]),
    ]


def sequences() -> list[tuple[tuple[int, ...], list[int]]]:
    """The same one by one: tokens, and the places that carry loss."""
    return [(DOCUMENT, [1, 2, 3, 4]), (PROMPT + FIRST, [4, 5, 6]), (PROMPT + SECOND, [4])]


@pytest.fixture
def model(policy: Policy) -> LlamaPolicy:
    model = policy.model.double()
    assert isinstance(model, LlamaPolicy)
    torch.nn.init.normal_(model.lm_head.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def twin(model: LlamaPolicy) -> LlamaForCausalLM:
    """transformers' own model with the same weights."""
    twin = LlamaForCausalLM._from_config(model.config, attn_implementation="sdpa").double()
    for module in twin.modules():
        if isinstance(module, LlamaRMSNorm):
            module.__class__ = UncastNorm
    twin.load_state_dict(model.state_dict())
    return twin


def one_by_one(twin: LlamaForCausalLM, temperature: float = 1.0) -> Tensor:
    found = []
    for tokens, places in sequences():
        logits = twin(torch.tensor([tokens])).logits[0] / temperature
        log_probs = torch.log_softmax(logits, dim=-1)
        found += [log_probs[at - 1, tokens[at]] for at in places]
    return torch.stack(found)


class UncastNorm(LlamaRMSNorm):
    """transformers' norm without its cast to float32, which would hide what float64 shows."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        spread = hidden_states.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(spread + self.variance_epsilon))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_every_target_has_the_log_probability_that_transformers_gives_it(
    model: LlamaPolicy, twin: LlamaForCausalLM, temperature: float
) -> None:
    found = target_log_probs(model, make_batch(trees()), temperature=temperature)
    torch.testing.assert_close(found, one_by_one(twin, temperature), rtol=FP64, atol=FP64)


def test_the_loss_is_their_negative_sum_with_the_same_gradients(model: LlamaPolicy, twin: LlamaForCausalLM) -> None:
    loss, _ = language_loss(model, make_batch(trees()))
    expected = -one_by_one(twin).sum()
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=FP64, atol=FP64)
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=FP64, atol=FP64)
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, name


def test_each_log_probability_has_the_gradients_that_transformers_gives_it(
    model: LlamaPolicy, twin: LlamaForCausalLM
) -> None:
    found, expected = target_log_probs(model, make_batch(trees()), temperature=0.7), one_by_one(twin, 0.7)
    factor = torch.arange(1, len(found) + 1, dtype=found.dtype)
    (found * factor).sum().backward()
    (expected * factor).sum().backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=FP64, atol=FP64)
