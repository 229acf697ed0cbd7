"""The sampling distribution against the plain formula, and draws against the distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alignment.generate.nucleus import draw, sampling_weights
from alignment.generate.settings import SamplingSettings

ROUNDING = 2e-6  # of fp32 probabilities computed in another order


def plain_distribution(logits: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """Temperature, top-k, top-p of one row, as the Llama 2 reference code has it, in fp64."""
    scaled = [x / temperature for x in logits]
    top = max(scaled)
    weights = [math.exp(x - top) for x in scaled]
    order = sorted(range(len(logits)), key=lambda i: (-weights[i], i))
    kept = order[: top_k or len(order)]
    total = sum(weights[i] for i in kept)
    before, nucleus = 0.0, []
    for i in kept:
        if before / total > top_p:
            break
        nucleus.append(i)
        before += weights[i]
    total = sum(weights[i] for i in nucleus)
    return [weights[i] / total if i in nucleus else 0.0 for i in range(len(logits))]


def probabilities(logits: Tensor, **settings: float) -> Tensor:
    weights = sampling_weights(logits.clone(), SamplingSettings(**settings)).double()
    return weights / weights.sum(-1, keepdim=True)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([1, 2, 5, 64, 65, 130, 200]),
    spread=st.sampled_from([0.01, 1.0, 6.0]),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 3, 64, 500]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
)
def test_distribution_is_that_of_the_plain_formula(
    seed: int, vocabulary: int, spread: float, temperature: float, top_k: int, top_p: float
) -> None:
    logits = spread * torch.from_numpy(np.random.default_rng(seed).normal(size=(3, vocabulary))).float()
    ours = probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    for row in range(3):
        plain = plain_distribution(logits[row].tolist(), temperature, top_k, top_p)
        assert ours[row].tolist() == pytest.approx(plain, rel=ROUNDING, abs=ROUNDING)


def test_a_token_is_dropped_only_when_the_mass_before_it_exceeds_p() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = {p: (probabilities(logits, temperature=1.0, top_p=p)[0] > 0).tolist() for p in (0.45, 0.55, 0.85)}
    assert kept == {
        0.45: [True, False, False, False],
        0.55: [True, True, False, False],
        0.85: [True, True, True, False],
    }


def test_equal_tokens_at_the_cut_stay_in_the_order_of_their_ids() -> None:
    logits = torch.tensor([[0.0, 3.0, 0.0, 0.0, 0.0]])
    assert (probabilities(logits, temperature=1.0, top_k=3, top_p=1.0)[0] > 0).tolist() == [
        True, True, True, False, False,
    ]  # fmt: skip
    flat = probabilities(torch.zeros(1, 200), temperature=1.0, top_p=0.4999)[0]
    assert flat[:100].tolist() == pytest.approx([0.01] * 100)
    assert flat[100:].tolist() == [0.0] * 100


def test_rows_whose_nucleus_is_wide_do_not_change_the_others() -> None:
    peaked, flat = torch.linspace(0, 40, 300)[None], torch.linspace(0, 1, 300)[None]
    together = probabilities(torch.cat([peaked, flat, peaked]), temperature=1.0, top_p=0.9)
    assert torch.equal(together[:1], probabilities(peaked, temperature=1.0, top_p=0.9))
    assert torch.equal(together[1:2], probabilities(flat, temperature=1.0, top_p=0.9))


def test_temperature_zero_takes_the_first_of_the_most_likely() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0], [5.0, 1.0, 1.0]])
    tokens, log_probs = draw(logits, torch.tensor([0.9, 0.9], dtype=torch.float64), SamplingSettings(temperature=0.0))
    assert tokens.tolist() == [1, 0]
    assert log_probs.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("vocabulary", [3, 64, 100, 128])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0 - 2.0**-53])
def test_extreme_uniforms_draw_tokens_that_have_probability(vocabulary: int, uniform: float) -> None:
    logits = torch.full((1, vocabulary), float("-inf"))
    logits[0, vocabulary // 2] = 1.0
    logits[0, vocabulary // 2 - 1] = 1.0
    tokens, log_probs = draw(
        logits, torch.tensor([uniform], dtype=torch.float64), SamplingSettings(temperature=1.0, top_p=1.0)
    )
    assert tokens.item() == vocabulary // 2 - (uniform < 0.5)
    assert log_probs.item() == pytest.approx(math.log(0.5))


def test_draws_walk_the_cumulative_distribution_in_the_order_of_token_ids() -> None:
    logits = torch.randn(1, 150, generator=torch.Generator().manual_seed(3))
    uniforms = torch.linspace(0, 1, 501, dtype=torch.float64)[:-1]
    tokens, log_probs = draw(logits.repeat(500, 1), uniforms, SamplingSettings(temperature=0.8, top_p=0.95))
    edges = torch.tensor(plain_distribution(logits[0].tolist(), 0.8, 0, 0.95), dtype=torch.float64)
    expected = torch.searchsorted(edges.cumsum(0), uniforms, right=True)
    # a uniform within rounding of an edge may fall on either side
    near = (edges.cumsum(0)[None] - uniforms[:, None]).abs().amin(-1) < ROUNDING
    assert ((tokens == expected) | near).all()
    assert near.sum() < 5
    assert log_probs.double().tolist() == pytest.approx(edges[tokens].log().tolist(), abs=1e-5)


def test_memory_order_of_the_logits_does_not_matter() -> None:
    logits = torch.randn(5, 130, generator=torch.Generator().manual_seed(0))
    uniforms = torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    chosen = SamplingSettings(temperature=1.0, top_p=0.9)
    rows = draw(logits.clone(), uniforms, chosen)
    columns = draw(logits.t().contiguous().t(), uniforms, chosen)
    assert torch.equal(rows[0], columns[0])
    assert torch.allclose(rows[1], columns[1], atol=1e-6)


def test_logits_that_are_not_finite_give_log_probabilities_that_are_not() -> None:
    logits = torch.tensor([[0.0, float("nan"), 1.0], [0.0, 1.0, 2.0]])
    uniforms = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for chosen in (SamplingSettings(temperature=1.0, top_p=1.0), SamplingSettings(temperature=0.0)):
        log_probs = draw(logits.clone(), uniforms, chosen)[1]
        assert log_probs.isfinite().tolist() == [False, True]
