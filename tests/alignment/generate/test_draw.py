"""Drawing answers leaves the policy as it was: what trains between draws trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignment.errors import CheckpointError
from alignment.generate.draw import draw_samples, fitting_prompts, make_sampler
from alignment.generate.settings import SamplingSettings
from alignment.model.modes import evaluating
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.journal import Journal

SAMPLING = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=3)


def _modes(policy: Policy) -> list[bool]:
    return [module.training for module in policy.model.modules()]


def test_a_policy_that_trains_still_trains_after_it_sampled(policy: Policy, dialogues: list[Dialogue]) -> None:
    policy.model.train()
    policy.model.model.layers[1].eval()  # a part that its owner keeps still
    before = _modes(policy)
    prompts, _ = fitting_prompts([dialogues[0].prompt()], policy, SAMPLING)
    draw_samples(policy, prompts, num_samples=2, sampling=SAMPLING, seed=0, names=("x",), journal_path=None)
    make_sampler(policy)
    assert _modes(policy) == before
    assert len(set(before)) == 2


def test_layers_are_checkpointed_in_the_step_after_sampling(
    policy: Policy, dialogues: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.model.gradient_checkpointing_enable()
    policy.model.train()
    prompts, _ = fitting_prompts([dialogues[0].prompt()], policy, SAMPLING)
    draw_samples(policy, prompts, num_samples=1, sampling=SAMPLING, seed=0, names=("x",), journal_path=None)
    runs = []
    layer = policy.model.model.layers[0]
    layer.input_layernorm.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    policy.model(torch.tensor([prompts[0][1]])).logits.sum().backward()
    assert len(runs) == 2  # once forward, once again in the backward pass


def test_modes_are_restored_after_an_error(policy: Policy) -> None:
    policy.model.train()
    inside: list[bool] = []

    def fail() -> None:
        with evaluating(policy.model):
            inside.extend(_modes(policy))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not any(inside)
    assert all(_modes(policy))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"token_ids": None}, "is no sample"),
        ({"token_ids": [999_999, 2]}, "token_ids must be from 0 to"),
        ({"token_ids": [-5, 2]}, "token_ids must be from 0 to"),
        ({"log_probs": [-0.5]}, "one number a token"),
        ({"log_probs": ["x", -0.5]}, "one number a token"),
        ({"prompt": ...}, "'prompt' is missing"),
        ({"finish": ...}, "'finish' is missing"),
    ],
)
def test_a_journal_that_holds_no_samples_is_refused_with_its_line(
    change: dict[str, Any], told: str, policy: Policy, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    good = {"prompt": "p", "sample": 0, "token_ids": [5, 2], "log_probs": [-0.5, -0.5], "finish": "stop"}
    bad = {key: value for key, value in (good | change).items() if value is not ...}
    with Journal(tmp_path / "samples.jsonl") as journal:
        journal.append_all([good, bad])
    prompts, _ = fitting_prompts([dialogues[0].prompt()], policy, SAMPLING)
    with pytest.raises(CheckpointError, match=rf"samples\.jsonl:2 .*{told}"):
        draw_samples(
            policy,
            prompts,
            num_samples=1,
            sampling=SAMPLING,
            seed=0,
            names=("x",),
            journal_path=tmp_path / "samples.jsonl",
        )
