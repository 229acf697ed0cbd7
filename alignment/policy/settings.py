"""Settings of an adapter: which small matrices are trained beside a model that stays as it is.  No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from alignment.settings import Settings, setting

# the linear layers of a Llama's decoder layer
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class AdapterSettings(Settings):
    """LoRA (Hu et al. 2021): W x + (alpha / rank) B A x, A and B trained, W frozen; defaults of alpaca-lora.

    QLoRA (Dettmers et al. 2023) is `rank: 64`, `targets: all-linear` and `base_precision: nf4`.
    """

    kind: Literal["lora"] = setting("lora", "what is trained beside the frozen base: lora, two matrices a target")
    rank: int = setting(8, "rows of A and columns of B: rank (in + out) numbers are trained a target", ge=1)
    alpha: int = setting(16, "the adapter's part is scaled by alpha / rank", ge=1)
    dropout: float = setting(0.05, "of the adapter's input, while training", ge=0, lt=1)
    targets: Literal["all-linear"] | tuple[str, ...] = setting(
        ("q_proj", "v_proj"), "linear layers of each decoder layer by name, or all-linear"
    )
    base_precision: Literal["fp32", "nf4"] = setting(
        "fp32",
        "the frozen base while training: fp32, or nf4, QLoRA's 4-bit NormalFloat with double quantisation (needs "
        "bitsandbytes)",
    )

    @field_validator("targets")
    @classmethod
    def _some(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError(f"names no layer; {', '.join(PROJECTIONS)} are a Llama's, or say all-linear")
        if isinstance(targets, tuple) and len(set(targets)) < len(targets):
            raise ValueError("names a layer twice; each is adapted once")
        return targets
