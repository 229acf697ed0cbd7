"""Settings of reward models.  No torch."""

from __future__ import annotations

from typing import Literal

from alignment.data.settings import DataSettings
from alignment.settings import setting
from alignment.train.settings import OptimizerSettings, PackedSettings


class RewardSettings(PackedSettings):
    """One reward model (Llama 2 paper, 3.2.2): 1 epoch, 512 pairs per step, lr 1e-5, margin by grade."""

    optimizer: OptimizerSettings = setting(
        OptimizerSettings(learning_rate=1e-5, warmup_fraction=0.03, warmup_steps=5), "AdamW and its schedule"
    )
    data: DataSettings = setting(..., "preferences (and labelled answers, for the safety term)")
    margin: Literal["none", "small", "large"] = setting("large", "the margin table of the paper (table 27)")
    safety_weight: float = setting(0.0, "weight of the safety classification term (the paper gives none: ours)", ge=0)
    context_length: int = setting(
        4096,
        "longest prompt and answer together, in tokens; longer pairs are left out; not given: what the model "
        "holds, up to 4,096",
        ge=8,
    )
    batch_size: int = setting(512, "pairs per step", ge=1)
    epochs: float = setting(1.0, "passes over the pairs (the paper: more over-fits)", gt=0)
