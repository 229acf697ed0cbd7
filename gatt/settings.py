"""Settings of Ghost Attention.  No torch."""

from __future__ import annotations

from pydantic import field_validator

from alignment.constraint import names_yaml, require_source
from alignment.generate.settings import SamplingSettings
from alignment.settings import setting
from alignment.train.settings import MOST_EPOCHS, FineTuneSettings, ReplaySettings


class GattSamplingSettings(SamplingSettings):
    """How synthesised answers are drawn (ours: the paper does not say)."""

    temperature: float = setting(0.7, "divides the logits; 0 takes the most likely token (greedy)", ge=0.0, le=10.0)
    top_p: float = setting(
        0.95, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )


class GattSettings(FineTuneSettings):
    """Ghost Attention (Llama 2 paper, 3.3): instructions kept over many turns."""

    after: int = setting(0, "the RLHF version whose model it starts from (paper: 3); 0: the last", ge=0)
    constraints: str = setting(
        "builtin", "`world` (the embedded world's), `builtin`, or a .yaml file of constraints", file=names_yaml
    )
    num_dialogues: int = setting(1000, "training dialogues to synthesise", ge=1)
    turns: int = setting(4, "user turns of a synthesised dialogue", ge=2)
    shorten_fraction: float = setting(
        0.5, "share of dialogues whose instruction is written tersely (paper: half)", ge=0, le=1
    )
    keep_only_satisfied: bool = setting(
        True, "keep a dialogue only if its last answer follows the instruction (our check; the paper has none)"
    )
    sampling: GattSamplingSettings = setting(GattSamplingSettings(), "how the answers are drawn")
    evaluation_dialogues: int = setting(64, "held-out dialogues for consistency by turn", ge=1)
    evaluation_turns: int = setting(6, "user turns of an evaluation dialogue", ge=2)
    epochs: float = setting(1.0, "passes over the dialogues", gt=0, le=MOST_EPOCHS)
    sft_share: float = setting(0.0, "SFT dialogues mixed in, as a share of the GAtt dialogues", ge=0)
    replay: ReplaySettings | None = setting(
        None, "pretraining documents mixed in, as a share of the GAtt dialogues; none: no document", added=True
    )

    @field_validator("constraints")
    @classmethod
    def _a_source(cls, constraints: str) -> str:
        return require_source(constraints)
