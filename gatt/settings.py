"""Settings of Ghost Attention.  No torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

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
        "builtin",
        "`world` (the embedded world's), `builtin`, `kinds` (every kind, docs/gatt.md), or a .yaml file of constraints",
        file=names_yaml,
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

    compose: Literal["whole", "turns"] = setting(
        "whole",
        "how dialogues are made: held as a whole under the repeated instruction (paper), or each turn asked alone, "
        "checked, asked again, and the kept ones put together (ours)",
        added=True,
    )
    history: int = setting(
        1, "compose turns: earlier exchanges of its own dialogue that a follow-up is asked with", ge=0, added=True
    )
    attempts: int = setting(
        6, "compose turns: answers drawn for one turn until one follows the instruction, at most", ge=1, added=True
    )
    loss_on: Literal["last", "all"] = setting(
        "last",
        "answers of a synthesised dialogue that carry loss: the last (paper), or all, which compose turns has checked "
        "one by one (ours)",
        added=True,
    )
    combine: float = setting(
        0.0,
        "share of dialogues under two instructions at once, joined at random where they can be",
        ge=0,
        le=1,
        added=True,
    )
    evaluation_groups: bool = setting(
        False,
        "measure by group (seen, unseen values, unseen combinations, unseen kinds) and by kind of instruction",
        added=True,
    )
    evaluation_change: bool = setting(
        False, "measure dialogues too whose instruction is exchanged for another midway", added=True
    )
    attention_dialogues: int = setting(
        0,
        "held-out dialogues on which attention to the instruction is drawn, before and after; 0: none (the core alone)",
        ge=0,
        added=True,
    )

    @model_validator(mode="after")
    def _all_answers_are_checked(self) -> Self:
        if self.loss_on == "all" and (self.compose != "turns" or not self.keep_only_satisfied):
            raise ValueError(
                "loss_on is 'all', and only compose: turns with keep_only_satisfied: true checks every answer; say so, "
                "or loss_on: last"
            )
        return self

    @field_validator("constraints")
    @classmethod
    def _a_source(cls, constraints: str) -> str:
        return require_source(constraints)
