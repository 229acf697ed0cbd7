"""Log-probabilities in chunks equal the plain formula; their gradients equal numerical ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignment.model import log_probs as room
from alignment.model.log_probs import summed_log_probs, token_log_probs
from tests.tolerances import FP32_SAME_CODE, FP64_SAME_CODE


def _inputs(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, 5, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(11, 5, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, 11, (n,), generator=draw)


def _plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return ((hidden @ weight.t()) / temperature).softmax(-1)[torch.arange(len(targets)), targets].log()


@given(
    n=st.integers(1, 12), rows=st.integers(1, 15), temperature=st.sampled_from([0.5, 1, 1.7]), seed=st.integers(0, 9)
)
def test_any_chunking_equals_the_plain_formula_with_its_gradients(
    n: int, rows: int, temperature: float, seed: int
) -> None:
    hidden, weight, targets = _inputs(n, seed=seed)
    factor = torch.arange(1, n + 1, dtype=torch.float64)
    expected = _plain(hidden, weight, targets, temperature)
    expected_grads = torch.autograd.grad((expected * factor).sum(), (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
        chosen = token_log_probs(hidden, weight, targets, temperature=temperature)
        grads = torch.autograd.grad((chosen * factor).sum(), (hidden, weight))
    for a, b in ((chosen, expected), *zip(grads, expected_grads, strict=True)):
        torch.testing.assert_close(a, b, rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)


@given(n=st.integers(0, 12), rows=st.integers(1, 15), seed=st.integers(0, 9))
def test_the_sum_equals_the_summed_log_probs_with_its_gradients(n: int, rows: int, seed: int) -> None:
    hidden, weight, targets = _inputs(n, seed=seed)
    expected = token_log_probs(hidden, weight, targets).sum()
    expected_grads = torch.autograd.grad(expected * 0.37, (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
        total = summed_log_probs(hidden, weight, targets)
        grads = torch.autograd.grad(total * 0.37, (hidden, weight))
    for a, b in ((total, expected), *zip(grads, expected_grads, strict=True)):
        torch.testing.assert_close(a, b, rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [2, 100])
def test_gradients_equal_numerical_ones(rows: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
    hidden, weight, targets = _inputs(5)
    assert torch.autograd.gradcheck(
        lambda h, w: token_log_probs(h, w, targets, temperature=temperature), (hidden, weight)
    )
    assert torch.autograd.gradcheck(lambda h, w: summed_log_probs(h, w, targets), (hidden, weight))


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_needs_no_gradient_gets_none(frozen: int) -> None:
    for function in (token_log_probs, summed_log_probs):
        inputs = list(_inputs(5)[:2])
        inputs[frozen] = inputs[frozen].detach()
        function(*inputs, torch.arange(5)).sum().backward()
        assert inputs[frozen].grad is None
        assert inputs[1 - frozen].grad is not None


def _seen_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    real = room._Head.chunk

    def chunk(self: room._Head, rows: slice, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        found = real(self, rows, targets, temperature)
        seen.append(found[1].shape[0])
        return found

    monkeypatch.setattr(room._Head, "chunk", chunk)
    return seen


def test_the_projection_is_never_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", 3 * 11)
    seen = _seen_chunks(monkeypatch)
    hidden, weight, targets = _inputs(8)
    token_log_probs(hidden, weight, targets).sum().backward()
    assert seen == [3, 3, 2, 3, 3, 2]  # forward, then each chunk again in the backward pass


def test_the_sum_computes_no_logits_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", 3 * 11)
    seen = _seen_chunks(monkeypatch)
    summed_log_probs(*_inputs(8)).backward()
    assert seen == [3, 3, 2]


def test_one_chunk_is_kept_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _seen_chunks(monkeypatch)
    token_log_probs(*_inputs(8)).sum().backward()
    assert seen == [8]


@pytest.mark.parametrize("rows, kept", [(100, 8 * 11), (3, 0)], ids=["one chunk", "chunks"])
def test_what_the_backward_pass_needs_is_saved_where_hooks_see_it(
    rows: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_CHUNK_ELEMENTS", rows * 11)
    hidden, weight, targets = _inputs(8)
    seen: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        seen.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_log_probs(hidden, weight, targets)
    assert sorted(seen) == sorted(size for size in (hidden.numel(), weight.numel(), targets.numel(), kept) if size)


def test_a_weight_that_changes_before_the_backward_pass_is_found() -> None:
    hidden, weight, targets = _inputs(8)
    chosen = token_log_probs(hidden, weight, targets)
    with torch.no_grad():
        weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        chosen.sum().backward()


def test_values_by_hand() -> None:
    flat = token_log_probs(torch.zeros(1, 4), torch.zeros(8, 4), torch.tensor([3]))
    assert flat.item() == pytest.approx(-math.log(8))
    assert token_log_probs(torch.ones(1, 1), torch.tensor([[1e4], [-1e4]]), torch.tensor([0])).item() == 0.0


def test_extreme_logits_stay_finite_with_finite_gradients() -> None:
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    chosen = token_log_probs(hidden, weight, torch.tensor([1, 1]))
    assert chosen.tolist() == [-2e4, 0.0]
    chosen.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    assert torch.isfinite(hidden.grad).all()
    assert torch.isfinite(weight.grad).all()


def test_half_precision_inputs_give_fp32_results() -> None:
    hidden, weight, targets = _inputs(6, torch.bfloat16)
    chosen = token_log_probs(hidden, weight, targets)
    assert chosen.dtype == torch.float32
    logits = (hidden @ weight.t()).float()
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(chosen, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


@pytest.mark.parametrize("function", [token_log_probs, summed_log_probs])
def test_under_autocast_the_products_are_bf16_and_the_gradients_fp32(function: Callable[..., Tensor]) -> None:
    hidden, weight, targets = _inputs(40, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = function(hidden, weight, targets).sum()
    grads = torch.autograd.grad(found, (hidden, weight))
    assert [found.dtype, *(grad.dtype for grad in grads)] == [torch.float32] * 3
    rounded = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
    logits = (rounded[0] @ rounded[1].t()).float()
    expected = logits.log_softmax(-1).gather(1, targets[:, None]).sum()
    torch.testing.assert_close(found, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    for a, b in zip(grads, torch.autograd.grad(expected, rounded), strict=True):
        assert float((a - b).norm() / b.norm()) < 0.005


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("function", [token_log_probs, summed_log_probs])
def test_no_targets_give_nothing_that_still_reaches_every_input(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    hidden, weight, _ = _inputs(0, dtype)
    found = function(hidden, weight, torch.zeros(0, dtype=torch.long))
    assert found.numel() == (0 if function is token_log_probs else 1)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    found.sum().backward()
    for reached in (hidden, weight):
        assert reached.grad is not None
        assert float(reached.grad.abs().sum()) == 0.0
