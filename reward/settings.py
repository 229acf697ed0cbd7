"""Settings of reward models.  No torch."""

from __future__ import annotations

from typing import Literal

from alignment.model.settings import names_folder
from alignment.settings import Settings, setting
from alignment.train.settings import OptimizerSettings, PackedSettings


class RewardSettings(PackedSettings):
    """One reward model (Llama 2 paper, 3.2.2): 1 epoch, 512 pairs per step, lr 1e-5, margin by grade."""

    optimizer: OptimizerSettings = setting(
        OptimizerSettings(learning_rate=1e-5, warmup_fraction=0.03, warmup_steps=5), "AdamW and its schedule"
    )
    margin: Literal["none", "small", "large"] = setting("large", "the margin table of the paper (table 27)")
    safety_weight: float = setting(0.0, "weight of the safety classification term (the paper gives none: ours)", ge=0)
    context_length: int = setting(
        4096, "longest prompt and answer together, in tokens; longer pairs are left out", ge=8
    )
    batch_size: int = setting(512, "pairs per step", ge=1)
    epochs: float = setting(1.0, "passes over the pairs (the paper: more over-fits)", gt=0)


class BroughtReward(Settings):
    """A reward that is brought instead of trained: a checkpoint, or a Python function."""

    path: str | None = setting(
        None, "a reward model's folder or hub name: one label, the policy's tokenizer", file=names_folder
    )
    revision: str | None = setting(None, "the hub revision of `path`")
    function: str | None = setting(None, "module:name of a Python function that scores dialogues")
    code: str | None = setting(
        None, "the function's file; its digest is what a result rests on, its place is not", file=True, cosmetic=True
    )

    @property
    def named(self) -> str:
        """What messages and pages call it."""
        return f"the function {self.function}" if self.function is not None else str(self.path)
