"""A frozen base in 4 bits while an adapter is trained beside it (QLoRA, Dettmers et al. 2023, 3).

NormalFloat in blocks of 64, the blocks' constants quantised too; by bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from alignment.errors import MissingExtra, SettingError

_BLOCK = 64  # numbers that have a scale in common


def quantise(model: nn.Module, layers: Sequence[str]) -> None:
    """Put linear layers into NF4, in place; embedding, norms, and the vocabulary's projection stay as they are.

    Args:
        layers: full names.

    Raises:
        MissingExtra: bitsandbytes is not installed.
        SettingError: a layer's inputs are no whole number of blocks.
    """
    try:
        import bitsandbytes as bnb
    except ImportError:
        raise MissingExtra("bitsandbytes", "qlora") from None
    found = {name: cast(nn.Linear, model.get_submodule(name)) for name in layers}
    for name, old in found.items():
        if old.in_features % _BLOCK:
            raise SettingError(
                "adapter.base_precision",
                f"is nf4, whose blocks are of {_BLOCK} numbers; {name} has {old.in_features} inputs, no whole "
                f"number of them; say fp32",
            )
    for name, old in found.items():
        new = bnb.nn.Linear4bit(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            compute_dtype=torch.bfloat16 if old.weight.is_cuda else torch.float32,
            quant_type="nf4",
            compress_statistics=True,
            device="meta",
        )
        new.weight = bnb.nn.Params4bit(
            old.weight.detach(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=new
        )
        new.bias = old.bias
        model.set_submodule(name, new.to(old.weight.device))  # which quantises
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # PEFT asks, before it takes 4-bit layers for such
