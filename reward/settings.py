"""Settings of reward models.  No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from alignment.evaluate.settings import EndpointSettings
from alignment.model.settings import names_folder
from alignment.records import Grade
from alignment.settings import Settings, setting
from alignment.train.settings import MOST_EPOCHS, FineTuneSettings, OptimizerSettings
from reward.margins import MarginName, margin_fault


class RewardOptimizerSettings(OptimizerSettings):
    """AdamW of a reward model (Llama 2 paper, 3.2.2): peak 1e-5, warm-up 3 % of the steps and at least 5."""

    learning_rate: float = setting(1e-5, "peak learning rate", gt=0, le=1.0)
    warmup_steps: int = setting(5, "steps of linear warm-up", ge=0)
    warmup_fraction: float = setting(0.03, "warm-up as a share of all steps; the longer of the two counts", ge=0, lt=1)


class RewardSettings(FineTuneSettings):
    """One reward model (Llama 2 paper, 3.2.2): 1 epoch, 512 pairs per step, lr 1e-5, margin by grade."""

    optimizer: RewardOptimizerSettings = setting(RewardOptimizerSettings(), "AdamW and its schedule")
    margin: MarginName | dict[Grade, float] = setting(
        "large", "margin by grade: a table of the paper (table 27) by name, or one's own, {grade: number}"
    )
    safety_weight: float = setting(0.0, "weight of the safety classification term (the paper gives none: ours)", ge=0)
    centring: float = setting(
        0.0,
        "weight of (r_chosen + r_rejected)^2, which keeps scores around 0; 0: none, as in the paper",
        added=True,
        ge=0,
    )
    context_length: int = setting(
        4096,
        "longest prompt and answer together, in tokens; longer pairs are left out; not given: what the model "
        "holds, up to 4,096",
        ge=8,
    )
    batch_size: int = setting(512, "pairs per step", ge=1)
    together: Literal["pair", "prompt"] = setting(
        "pair",
        "what stays together in a step; pair: the two answers of a comparison, as in the paper; prompt: all pairs of a "
        "prompt, so that each answer is read once (Ouyang et al. 2022, 3.5)",
        added=True,
    )
    epochs: float = setting(1.0, "passes over the pairs (the paper: more over-fits)", gt=0, le=MOST_EPOCHS)

    @field_validator("margin", mode="before")
    @classmethod
    def _known_margin(cls, margin: Any) -> Any:
        if (fault := margin_fault(margin)) is not None:
            raise ValueError(fault)
        return margin


class BroughtReward(Settings):
    """A reward that is brought instead of trained: a checkpoint, a Python function or, to watch, an endpoint."""

    path: str | None = setting(
        None, "a reward model's folder or hub name: one label, the policy's tokenizer", file=names_folder
    )
    revision: str | None = setting(None, "the hub revision of `path`")
    function: str | None = setting(None, "module:name of a Python function that scores dialogues")
    code: str | None = setting(
        None, "the function's file; its digest is what a result rests on, its place is not", file=True, cosmetic=True
    )
    endpoint: EndpointSettings | None = setting(None, "an outside model that compares answers", added=True)

    @property
    def named(self) -> str:
        """What messages and pages call it."""
        if self.endpoint is not None:
            return f"the outside model {self.endpoint.model}"
        return f"the function {self.function}" if self.function is not None else str(self.path)
