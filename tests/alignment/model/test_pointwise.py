"""The norm and the rotation with written gradients are the plain formulas (Llama 2 paper, 2.2)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from alignment.model.pointwise import rms_norm, rotate
from tests.tolerances import FP32_SAME_CODE, FP64_SAME_CODE


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def test_the_norm_by_hand() -> None:
    normed = rms_norm(torch.tensor([[3.0, -4.0]]), torch.tensor([1.0, 2.0]), 0.0)
    assert normed.tolist()[0] == pytest.approx([3 / 12.5**0.5, -8 / 12.5**0.5])


def test_the_norm_of_zeros_is_zero() -> None:
    assert rms_norm(torch.zeros(2, 4), torch.ones(4), 1e-5).tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_norms_gradients_equal_numerical_ones(eps: float) -> None:
    x, weight = _random(5, 6).requires_grad_(), _random(6).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, eps), (x, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_computed_in_fp32_and_comes_in_the_inputs_dtype(dtype: torch.dtype) -> None:
    x, weight = _random(7, 64, dtype=dtype), _random(64, dtype=dtype)
    wide = x.double()
    expected = weight.double() * (wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt()).to(dtype).double()
    found = rms_norm(x, weight, 1e-5)
    assert found.dtype == dtype
    tolerance = FP32_SAME_CODE if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_under_autocast_the_norm_comes_ready_for_the_matrix_products() -> None:
    x, weight = _random(7, 64, dtype=torch.float32).requires_grad_(), _random(64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rms_norm(x, weight, 1e-5)
    assert torch.equal(found, rms_norm(x, weight, 1e-5).bfloat16())
    found.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


def test_a_quarter_turn_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])  # the pairs (1, 3) and (2, 4)
    quarter = rotate(x, torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    assert quarter.tolist() == [[[-3.0, 2.0, 1.0, 4.0]]]


def test_a_rotation_keeps_lengths_and_turns_back() -> None:
    x, angle = _random(5, 3, 8), _random(5, 1, 4)
    turned = rotate(x, angle.cos(), angle.sin())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)
    back = rotate(turned, angle.cos(), -angle.sin())
    torch.testing.assert_close(back, x, rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)


def test_the_rotations_gradients_equal_numerical_ones() -> None:
    angle = _random(5, 1, 4)
    x = _random(5, 3, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: rotate(a, angle.cos(), angle.sin()), (x,))


def test_bf16_is_rotated_by_fp32_angles_and_stays_bf16() -> None:
    x, angle = _random(5, 3, 8, dtype=torch.bfloat16), _random(5, 1, 4, dtype=torch.float32)
    found = rotate(x, angle.cos(), angle.sin())
    assert torch.equal(found, rotate(x.float(), angle.cos(), angle.sin()).bfloat16())
