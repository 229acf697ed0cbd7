"""The core's norm and rotation with their gradients written down.

Autograd's own way through them keeps every intermediate and walks over the activations twice as often;
on a CPU that is a tenth of a training step.  Under `torch.compile` the plain formulas stand, which it fuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / root mean square over the last dimension, in at least fp32, times a gain.

    Args:
        x: [T, C].
        weight: [C].
        eps: added to the mean square.

    Returns:
        [T, C] in the dtype of x; under autocast in autocast's, since matrix products follow.
    """
    if x.dtype in (torch.float32, torch.float64) and x.dtype == weight.dtype and not torch.compiler.is_compiling():
        normed: Tensor = _RMSNorm.apply(x, weight, eps)
        return normed
    wide = x if x.dtype == torch.float64 else x.float()
    plain = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return weight * plain.to(x.dtype)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        device = x.device.type
        lower = x.dtype == torch.float32 and torch.is_autocast_enabled(device)
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        out = torch.empty_like(x, dtype=torch.get_autocast_dtype(device) if lower else x.dtype)
        return torch.mul(x * inverse, weight, out=out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        wide = grad.to(x.dtype)
        normed = x * inverse
        along = (wide * normed).sum(0)  # the gain's gradient
        # d/dx: the part of the gradient along x changes nothing, so it is taken out
        d_x = None
        if ctx.needs_input_grad[0]:
            scaled = wide * weight
            share = (scaled * normed).mean(-1, keepdim=True)
            d_x = scaled.addcmul_(normed, share, value=-1).mul_(inverse)
        return d_x, along, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + D/2) of each head by each token's angles.

    Args:
        x: [T, heads, D].
        cos: [T, 1, D/2], in at least fp32.
        sin: [T, 1, D/2].

    Returns:
        [T, heads, D] in the dtype of x.
    """
    if torch.compiler.is_compiling():
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
    turned: Tensor = _Rotate.apply(x, cos, sin)
    return turned


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin), None, None  # a rotation's gradient turns back


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.to(cos.dtype).chunk(2, dim=-1)
    out = torch.empty_like(x)
    half = x.shape[-1] // 2
    out[..., :half] = (first * cos).addcmul_(second, sin, value=-1)
    out[..., half:] = (second * cos).addcmul_(first, sin)
    return out
