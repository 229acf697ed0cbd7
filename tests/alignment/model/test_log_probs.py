"""Log-probabilities in chunks equal the plain formula; their gradients equal numerical ones."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignment.model import log_probs as room
from alignment.model.log_probs import token_log_probs
from tests.tolerances import FP32_SAME_CODE, FP64_SAME_CODE


def _inputs(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, 5, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(11, 5, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, 11, (n,), generator=draw)


def _plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    probabilities = ((hidden @ weight.t()) / temperature).softmax(-1)
    chosen = probabilities[torch.arange(len(targets)), targets].log()
    return chosen, -(probabilities * probabilities.log()).sum(-1)


@given(n=st.integers(1, 12), rows=st.integers(1, 5), temperature=st.sampled_from([0.5, 1, 1.7]), seed=st.integers(0, 9))
def test_any_chunking_equals_the_plain_formula_with_its_gradients(
    n: int, rows: int, temperature: float, seed: int
) -> None:
    hidden, weight, targets = _inputs(n, seed=seed)
    factor = torch.arange(1, n + 1, dtype=torch.float64)
    expected, expected_entropy = _plain(hidden, weight, targets, temperature)
    expected_grads = torch.autograd.grad((expected * factor).sum(), (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
        chosen, entropy = token_log_probs(hidden, weight, targets, temperature=temperature, entropy=True)
        grads = torch.autograd.grad((chosen * factor).sum(), (hidden, weight))
    assert entropy is not None
    assert not entropy.requires_grad
    for a, b in ((chosen, expected), (entropy, expected_entropy), *zip(grads, expected_grads, strict=True)):
        torch.testing.assert_close(a, b, rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [2, 100])
def test_gradients_equal_numerical_ones(rows: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
    hidden, weight, targets = _inputs(5)
    assert torch.autograd.gradcheck(
        lambda h, w: token_log_probs(h, w, targets, temperature=temperature)[0], (hidden, weight)
    )


def test_the_projection_is_never_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", 3 * 11)
    seen: list[int] = []
    real = room._chunk
    monkeypatch.setattr(room, "_chunk", lambda h, *rest: (seen.append(h.shape[0]), real(h, *rest))[1])
    hidden, weight, targets = _inputs(8)
    token_log_probs(hidden, weight, targets)[0].sum().backward()
    assert seen == [3, 3, 2, 2, 3, 3]  # forward, then each chunk again in the backward pass


def test_entropy_by_hand() -> None:
    hidden = torch.zeros(1, 4)
    flat = token_log_probs(hidden, torch.zeros(8, 4), torch.tensor([3]), entropy=True)
    assert flat[0].item() == pytest.approx(-math.log(8))
    assert flat[1] is not None
    assert flat[1].item() == pytest.approx(math.log(8))
    sure = token_log_probs(torch.ones(1, 1), torch.tensor([[1e4], [-1e4]]), torch.tensor([0]), entropy=True)
    assert (sure[0].item(), sure[1].item() if sure[1] is not None else None) == (0.0, 0.0)


def test_extreme_logits_stay_finite_with_finite_gradients() -> None:
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    chosen, _ = token_log_probs(hidden, weight, torch.tensor([1, 1]))
    assert chosen.tolist() == [-2e4, 0.0]
    chosen.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    assert torch.isfinite(hidden.grad).all()
    assert torch.isfinite(weight.grad).all()


def test_half_precision_inputs_give_fp32_results() -> None:
    hidden, weight, targets = _inputs(6, torch.bfloat16)
    chosen, _ = token_log_probs(hidden, weight, targets)
    assert chosen.dtype == torch.float32
    logits = (hidden @ weight.t()).float()
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(chosen, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_no_targets_give_an_empty_result_that_still_reaches_every_input(dtype: torch.dtype) -> None:
    hidden, weight, _ = _inputs(0, dtype)
    chosen, entropy = token_log_probs(hidden, weight, torch.zeros(0, dtype=torch.long), entropy=True)
    assert entropy is not None
    assert chosen.shape == entropy.shape == (0,)
    assert chosen.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    chosen.sum().backward()
    for reached in (hidden, weight):
        assert reached.grad is not None
        assert float(reached.grad.abs().sum()) == 0.0
