"""Settings of Ghost Attention.  No torch."""

from __future__ import annotations

from alignment.generate.settings import SamplingSettings
from alignment.settings import setting
from alignment.train.settings import PackedSettings


def _is_yaml(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


class GattSettings(PackedSettings):
    """Ghost Attention (Llama 2 paper, 3.3): instructions kept over many turns."""

    after: int = setting(0, "the RLHF version whose model it starts from (paper: 3); 0: the last", ge=0)
    constraints: str = setting(
        "builtin", "`world` (the embedded world's), `builtin`, or a .yaml file of constraints", file=_is_yaml
    )
    num_dialogues: int = setting(1000, "training dialogues to synthesise", ge=1)
    turns: int = setting(4, "user turns of a synthesised dialogue", ge=2)
    shorten_fraction: float = setting(
        0.5, "share of dialogues whose instruction is written tersely (paper: half)", ge=0, le=1
    )
    keep_only_satisfied: bool = setting(
        True, "keep a dialogue only if its last answer follows the instruction (our check; the paper has none)"
    )
    sampling: SamplingSettings = setting(SamplingSettings(temperature=0.7, top_p=0.95), "how the answers are drawn")
    evaluation_dialogues: int = setting(64, "held-out dialogues for consistency by turn", ge=1)
    evaluation_turns: int = setting(6, "user turns of an evaluation dialogue", ge=2)
    epochs: float = setting(1.0, "passes over the dialogues", gt=0)
    sft_share: float = setting(0.0, "SFT dialogues mixed in, as a share of the GAtt dialogues", ge=0)
