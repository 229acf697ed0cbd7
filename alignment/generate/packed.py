"""The engine's forward passes on a CPU: weights packed for few and narrow matrix products.

The same function as `Decoder`, arranged for decoding small models, where a step is some dozens of
products W x with W [out, in] and x [in, N] for N of a few dozen rows:
- activations are columns ([C, N]): on a CPU, W x is 1.4 to 1.6 times as fast as x W^T at N = 64 in fp32;
- query, key and value weights are one matrix, gate and up another; norm gains and the attention
  scale are folded into the weights that follow;
- rotary pairs (i, i + D/2) stand side by side, so a rotation is one complex product.  Scores do not
  change when queries and keys are permuted alike.
The residual stream, the rotation and the cache are fp32 whatever the weights are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from alignment.generate.decoder import Decoder, blocks
from alignment.model.llama import Attend, Block, LlamaPolicy
from alignment.model.rotary import rotary_table

_MOST_BYTES = 1 << 30  # larger models are not copied


@dataclass(frozen=True)
class _Layer:
    qkv: Tensor  # [(H + 2K) D, C]
    out: Tensor  # [C, H D]
    gate_up: Tensor  # [2 F, C]
    down: Tensor  # [C, F]
    qkv_bias: Tensor | None
    out_bias: Tensor | None
    gate_up_bias: Tensor | None
    down_bias: Tensor | None


def can_pack(model: LlamaPolicy, precision: torch.dtype) -> bool:
    """Whether the packed passes exist for this model, and are worth their copy of the weights."""
    size = sum(weight.numel() for weight in model.parameters()) * precision.itemsize
    on_cpu = model.lm_head.weight.device.type == "cpu"
    return on_cpu and precision in (torch.float32, torch.bfloat16) and size <= _MOST_BYTES


class PackedDecoder(Decoder):
    """Forward passes over a packed copy of the weights, taken when it is built.

    Args:
        model: the policy; adapters on its projections are taken in.
        precision: of the products, fp32 or bf16.
        positions: the largest position that will be asked for, plus one.
    """

    def __init__(self, model: LlamaPolicy, precision: torch.dtype, positions: int) -> None:
        super().__init__(model)
        body = model.model
        first = self.attention
        self.heads, self.kv_heads = int(first.num_heads), int(first.num_kv_heads or first.num_heads)
        self.width = int(first.head_dim)
        self.precision, self.eps = precision, body.config.rms_norm_eps
        self.layers = [_pack(layer, self.scale, precision) for layer in blocks(model)]
        self.scale = 1.0  # folded into the query weights
        self.embedding = body.embed_tokens.weight
        head, head_bias = _affine(model.lm_head)
        self.head_bias = _column(head_bias, precision)
        self.head = (head * body.norm.weight).to(precision)
        cos, sin = rotary_table(body.config, torch.arange(positions), torch.float32)
        self.turns = torch.complex(cos, sin)  # [positions, 1, D/2]

    def _hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        x = self.embedding[tokens].float().t().contiguous()
        count, queries = len(tokens), self.heads * self.width
        keys = queries + self.kv_heads * self.width
        turns = self.turns[positions]
        rows = torch.empty(count, keys + self.kv_heads * self.width)
        for number, layer in enumerate(self.layers):
            rows.copy_(self._product(layer.qkv, self._norm(x), layer.qkv_bias).t())
            query = torch.view_as_real(_pairs(rows[:, :queries], self.heads) * turns).flatten(2)
            key = torch.view_as_real(_pairs(rows[:, queries:keys], self.kv_heads) * turns).flatten(2)
            value = rows[:, keys:].view(count, self.kv_heads, self.width)
            mixed = attend(number, query, key, value).reshape(count, queries).t()
            self._add(x, layer.out, mixed, layer.out_bias)
            gate, up = self._product(layer.gate_up, self._norm(x), layer.gate_up_bias).chunk(2)
            self._add(x, layer.down, silu(gate, inplace=True).mul_(up), layer.down_bias)
        return x

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self._product(self.head, self._norm(hidden), self.head_bias)
        # rows in memory: what follows reads along the vocabulary
        return torch.empty(logits.shape[1], logits.shape[0]).copy_(logits.t())

    def _pick(self, hidden: Tensor, which: Tensor) -> Tensor:
        return hidden[:, which]

    def _norm(self, x: Tensor) -> Tensor:
        """x / rms(x); the gain is in the next weight."""
        return (x * x.square().mean(0).add_(self.eps).rsqrt_()).to(self.precision)

    def _product(self, weight: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
        return weight @ x if bias is None else torch.addmm(bias, weight, x)

    def _add(self, x: Tensor, weight: Tensor, y: Tensor, bias: Tensor | None) -> None:
        """x += weight @ y + bias, in fp32."""
        if self.precision == torch.float32:
            x.addmm_(weight, y)
        else:
            x += weight @ y.to(self.precision)
        if bias is not None:
            x += bias


def _pairs(rows: Tensor, heads: int) -> Tensor:
    """[N, heads D] -> [N, heads, D/2] complex."""
    return torch.view_as_complex(rows.unflatten(1, (heads, -1, 2)))


def _pack(layer: Block, scale: float, precision: torch.dtype) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    q, q_bias = _affine(attention.q_proj)
    k, k_bias = _affine(attention.k_proj)
    v, v_bias = _affine(attention.v_proj)
    out, out_bias = _affine(attention.o_proj)
    gate, gate_bias = _affine(mlp.gate_proj)
    up, up_bias = _affine(mlp.up_proj)
    down, down_bias = _affine(mlp.down_proj)

    def side_by_side(weight: Tensor) -> Tensor:
        """Rows (head, half, pair) to (head, pair, half)."""
        return weight.unflatten(0, (-1, 2, attention.head_dim // 2)).transpose(1, 2).flatten(0, 2)

    qkv = torch.cat([side_by_side(q) * scale, side_by_side(k), v]) * layer.input_layernorm.weight
    qkv_bias = torch.cat([side_by_side(q_bias) * scale, side_by_side(k_bias), v_bias])
    gate_up = torch.cat([gate, up]) * layer.post_attention_layernorm.weight
    return _Layer(
        qkv=qkv.to(precision),
        out=out.to(precision),
        gate_up=gate_up.to(precision),
        down=down.to(precision),
        qkv_bias=_column(qkv_bias, precision),
        out_bias=_column(out_bias, torch.float32),
        gate_up_bias=_column(torch.cat([gate_bias, up_bias]), precision),
        down_bias=_column(down_bias, torch.float32),
    )


def _column(bias: Tensor, dtype: torch.dtype) -> Tensor | None:
    """[F, 1], or None where there is nothing to add."""
    return bias[:, None].to(dtype) if bool(bias.any()) else None


def _affine(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias (0 without one) of a linear module in fp32, whatever wraps it (an adapter, say).

    A wrapped layer is asked what it does: its value at 0 is the bias, its values at the unit vectors
    the columns of its weight.
    """
    if type(module) is nn.Linear:
        weight = module.weight.detach().float()
        return weight, weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach().float()
    inner = next(module.parameters())
    unit = torch.eye(int(module.in_features), dtype=inner.dtype)  # type: ignore[arg-type]
    bias = module(unit.new_zeros(1, len(unit)))[0]
    return (module(unit) - bias).t().float(), bias.float()
