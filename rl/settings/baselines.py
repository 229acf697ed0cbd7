"""Settings of what people use instead of RLHF by rejection sampling and PPO: DPO and GRPO.  No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from alignment.data.settings import DataSettings
from alignment.settings import Settings, setting
from alignment.train.settings import (
    MOST_EPOCHS,
    OptimizerSettings,
)
from rl.settings.ppo import PpoOptimizerSettings, RolloutSettings, require_divisor


class DpoOptimizerSettings(OptimizerSettings):
    """AdamW of DPO, with the rates of Rafailov et al. 2023, appendix B (they took RMSprop, which decays nothing)."""

    learning_rate: float = setting(1e-6, "peak learning rate (paper: 1e-6)", gt=0, le=1.0)
    weight_decay: float = setting(0.0, "decoupled weight decay, not on norms and biases", ge=0)
    schedule: Literal["cosine", "constant"] = setting(
        "constant", "after warm-up: cosine to `final_fraction`, or constant"
    )
    warmup_steps: int = setting(150, "steps of linear warm-up (paper: 150)", ge=0)


class DpoSettings(Settings):
    """Direct preference optimisation by TRL's DPOTrainer (Rafailov et al. 2023, eq. 7 and appendix B)."""

    beta: float = setting(0.1, "how strongly the policy is held to its start (paper: 0.1)", gt=0)
    epochs: float = setting(1.0, "passes over the pairs", gt=0, le=MOST_EPOCHS)
    batch_size: int = setting(64, "pairs per optimizer step (paper: 64)", ge=1)
    microbatch_size: int = setting(8, "pairs of one forward pass: memory; must divide the batch", ge=1)
    context_length: int = setting(
        4096, "longest prompt with an answer, in tokens; not given: what the model holds, up to 4,096", ge=8
    )
    data: DataSettings | None = setting(
        None, "the pairs, and held-out ones; null: what every stage collect of the run collects, of both campaigns"
    )
    optimizer: DpoOptimizerSettings = setting(DpoOptimizerSettings(), "AdamW and its schedule")

    @property
    def asked_context(self) -> int | None:
        """`context_length` where it was given; where it was not, it is no wish that a shorter model could fail."""
        return self.context_length if "context_length" in self.model_fields_set else None

    @model_validator(mode="after")
    def _whole_microbatches(self) -> DpoSettings:
        require_divisor("microbatch_size", self.microbatch_size, self.batch_size)
        return self


class GrpoOptimizerSettings(PpoOptimizerSettings):
    """AdamW of GRPO (Shao et al. 2024, 4.2): 1e-6, constant here; the paper names no decay."""

    weight_decay: float = setting(0.0, "decoupled weight decay, not on norms and biases", ge=0)


class GrpoSettings(Settings):
    """Group relative policy optimisation by TRL's GRPOTrainer (Shao et al. 2024: DeepSeekMath, eq. 3 and 4.2)."""

    samples: int | None = setting(
        None, "answers drawn in all, in whole steps; null: as many as all versions of RLHF draw", ge=1
    )
    batch_size: int = setting(1024, "answers per optimizer step (paper: 1,024)", ge=2)
    samples_per_prompt: int = setting(64, "answers to one prompt, a group; must divide the batch (paper: 64)", ge=2)
    microbatch_size: int = setting(32, "answers of one forward pass: memory; must divide the batch", ge=1)
    kl_coefficient: float = setting(0.04, "beta: weight of the KL to the start in the loss (paper: 0.04)", ge=0)
    clip: float = setting(0.2, "the ratio is clipped to [1-clip, 1+clip] (the paper does not say: TRL's)", gt=0, lt=1)
    sampling: RolloutSettings = setting(RolloutSettings(), "how the answers are drawn")
    evaluate_every: int = setting(10, "steps between held-out rewards, the last step's beside", ge=1)
    optimizer: GrpoOptimizerSettings = setting(GrpoOptimizerSettings(), "AdamW, constant learning rate")

    @model_validator(mode="after")
    def _whole_groups(self) -> GrpoSettings:
        require_divisor("samples_per_prompt", self.samples_per_prompt, self.batch_size)
        require_divisor("microbatch_size", self.microbatch_size, self.batch_size)
        if self.samples is not None and self.samples < self.batch_size:
            raise ValueError(f"samples {self.samples} make no step of batch_size {self.batch_size}; a batch at least")
        return self
