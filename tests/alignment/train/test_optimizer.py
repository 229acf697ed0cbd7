"""AdamW decays matrices only, and its state travels as plain tensors, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from alignment.errors import CheckpointError
from alignment.policy.policy import Policy
from alignment.train.checkpoints import load_model_tensors, model_tensors
from alignment.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors, set_learning_rate
from alignment.train.settings import OptimizerSettings

SETTINGS = OptimizerSettings(learning_rate=1e-2)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    draw = torch.Generator().manual_seed(number)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimizer.step()


def test_norms_and_biases_are_not_decayed_and_everything_else_is(policy: Policy) -> None:
    optimizer = make_optimizer(policy.model, SETTINGS)
    names = {id(parameter): name for name, parameter in policy.model.named_parameters()}
    decayed = {names[id(p)] for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    spared = {names[id(p)] for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]}
    assert decayed | spared == set(names.values())
    assert spared == {name for name in names.values() if "norm" in name}
    assert len(spared) == 5


def test_without_a_gradient_a_matrix_shrinks_by_rate_times_decay_and_a_norm_stays(policy: Policy) -> None:
    optimizer = make_optimizer(policy.model, SETTINGS)
    before = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
    for parameter in policy.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in policy.model.named_parameters():
        factor = 1.0 if "norm" in name else 1.0 - 1e-2 * 0.1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_the_papers_constants_reach_adamw(policy: Policy) -> None:
    optimizer = make_optimizer(policy.model, OptimizerSettings())
    for group in optimizer.param_groups:
        assert (group["lr"], tuple(group["betas"]), group["eps"]) == (2e-5, (0.9, 0.95), 1e-5)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_frozen_parameters_are_left_out(policy: Policy) -> None:
    policy.model.model.embed_tokens.weight.requires_grad_(False)
    held = [p for group in make_optimizer(policy.model, SETTINGS).param_groups for p in group["params"]]
    assert len(held) == sum(1 for _ in policy.model.parameters()) - 1


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_saved_state_goes_on_bit_for_bit(policy: Policy, tied: bool) -> None:
    model = policy.model
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    optimizer = make_optimizer(model, SETTINGS)
    for number in range(3):
        _step(model, optimizer, number)
    weights = {name: value.clone() for name, value in model_tensors(model).items()}
    state = {name: value.clone() for name, value in optimizer_tensors(model, optimizer).items()}
    assert len(weights) == sum(1 for _ in model.parameters())
    assert len(state) == 3 * len(weights)

    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    again = make_optimizer(other, SETTINGS)
    load_model_tensors(other, weights)
    load_optimizer_tensors(other, again, state)
    for number in range(3, 6):
        _step(model, optimizer, number)
        _step(other, again, number)
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    for name, value in optimizer_tensors(model, optimizer).items():
        assert torch.equal(value, optimizer_tensors(other, again)[name]), name


def test_a_loaded_state_is_a_copy(policy: Policy) -> None:
    optimizer = make_optimizer(policy.model, SETTINGS)
    _step(policy.model, optimizer, 0)
    state = {name: value.clone() for name, value in optimizer_tensors(policy.model, optimizer).items()}
    kept = {name: value.clone() for name, value in state.items()}
    load_optimizer_tensors(policy.model, optimizer, state)
    _step(policy.model, optimizer, 1)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_a_state_of_another_model_is_refused(policy: Policy) -> None:
    optimizer = make_optimizer(policy.model, SETTINGS)
    with pytest.raises(CheckpointError, match=r"the optimizer's state names nothing\.weight"):
        load_optimizer_tensors(policy.model, optimizer, {"nothing.weight|exp_avg": torch.zeros(1)})


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda t: t.pop("lm_head.weight"), r"lacks lm_head\.weight \(400, 32\)"),
        (lambda t: t.update({"x": torch.zeros(2)}), r"holds x \(2,\), which the model has not"),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(31)}),
            r"model\.norm\.weight is \(31,\) in the checkpoint",
        ),
    ],
)
def test_weights_of_another_model_are_refused(policy: Policy, change: object, reason: str) -> None:
    tensors: dict[str, Tensor] = {name: value.clone() for name, value in model_tensors(policy.model).items()}
    assert callable(change)
    change(tensors)
    with pytest.raises(CheckpointError, match=reason):
        load_model_tensors(policy.model, tensors)
