"""Settings of rejection sampling: how candidates are drawn, which are kept, what is tuned on.  No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from alignment.data.settings import SourceSettings
from alignment.generate.settings import SamplingSettings
from alignment.model.settings import names_folder
from alignment.settings import Settings, setting
from alignment.train.settings import (
    MOST_EPOCHS,
    FineTuneSettings,
    ReplaySettings,
)


class CandidateSettings(SamplingSettings):
    """How rejection sampling's candidates are drawn: from the whole distribution (paper: T 1.2 to 1.3)."""

    temperature: float = setting(1.0, "divides the logits; 0 takes the most likely token (greedy)", ge=0.0, le=10.0)
    top_p: float = setting(
        1.0, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )


class SamplesFromSettings(Settings):
    """Another, usually larger, model whose samples are learnt from (Llama 2 paper, 3.2.3: smaller models are fine-tuned
    on what rejection sampling keeps of the 70B model's answers)."""

    path: str = setting(
        ..., "a checkpoint's folder or hub name; its tokenizer must be the run's", file=names_folder, min_length=1
    )
    revision: str | None = setting(None, "the hub revision of `path`")


class RejectionSettings(FineTuneSettings):
    """Rejection sampling fine-tuning (Llama 2 paper, 3.2.3): K samples, the best kept, fine-tuned as SFT.

    `pool: all` keeps the best of every version so far.  `pool: previous` is what the paper did until V3, where only the
    answers of the iteration before were candidates; V3 then forgot what earlier versions could do (rhyming lines of
    poems), and with the top samples of all earlier iterations back among the candidates it did no more.
    """

    samples_per_prompt: int = setting(16, "K, answers drawn for each prompt", ge=1)
    prompts_per_version: int = setting(0, "prompts used by one version, drawn anew; 0: all", ge=0)
    sampling: CandidateSettings = setting(
        CandidateSettings(), "how the candidates are drawn (paper: T 1.2 to 1.3 for RLHF models)"
    )
    temperatures: tuple[Annotated[float, Field(gt=0, le=10)], ...] = setting(
        (),
        "temperatures that every version tries before it draws; of those whose kept answers do not lose to the greedy "
        "ones by the watch model it takes the one whose best of K is rewarded most; none: sampling.temperature",
        added=True,
    )
    sweep_prompts: int = setting(
        128, "of a version's prompts, how many the temperatures are tried on, K answers at each", added=True, ge=1
    )
    keep: Literal["best", "top_n"] = setting(
        "best", "what is kept of a prompt's answers: the best one, or the `top_n` best different ones", added=True
    )
    top_n: int | None = setting(None, "with keep: top_n, answers kept for each prompt, at most", added=True, ge=1)
    samples_from: SamplesFromSettings | None = setting(
        None,
        "distillation: a checkpoint that draws the candidates in the place of the model that is fine-tuned on them; "
        "none: the newest model draws",
        added=True,
    )
    guard: float | None = setting(
        None,
        "the model's own greedy answer is a candidate too, and another is kept only where its reward is higher by at "
        "least this, in logits; none: no greedy answer is drawn",
        added=True,
        ge=0,
    )
    pool: Literal["all", "previous"] = setting(
        "all", "candidates of all earlier versions stay in the pool, or only this version's (paper until V3)"
    )
    start_from: Literal["latest", "sft"] = setting(
        "latest", "the model that is fine-tuned: the latest version, or the SFT model anew (the paper does not say)"
    )
    sft_share: float = setting(0.0, "SFT dialogues mixed in, as a share of the kept answers", ge=0)
    sft_source: tuple[SourceSettings, ...] | None = setting(
        None,
        "sources of those dialogues, for example the ones that keep instructions which no prompt of RLHF gives: "
        "without them such skills are forgotten; null: what SFT trains on (sft.data)",
        added=True,
    )
    replay: ReplaySettings | None = setting(
        None, "pretraining documents mixed in, as a share of the kept answers; none: no document", added=True
    )
    epochs: float = setting(1.0, "passes over the kept answers", gt=0, le=MOST_EPOCHS)

    @property
    def kept_per_prompt(self) -> int:
        """How many answers of a prompt are kept, at most."""
        return self.top_n or 1

    @field_validator("temperatures")
    @classmethod
    def _each_tried_once(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        twice = sorted({each for each in temperatures if temperatures.count(each) > 1})
        if twice:
            raise ValueError(f"names {', '.join(f'{each:g}' for each in twice)} more than once; each is tried once")
        return temperatures

    @model_validator(mode="after")
    def _demonstrations_have_a_share(self) -> RejectionSettings:
        if self.sft_source is not None and not (self.sft_source and self.sft_share):
            named = "says where demonstrations come from, and sft_share is 0, which mixes none in"
            raise ValueError(
                f"sft_source {named if self.sft_source else 'names no source'}; say both, or leave sft_source out"
            )
        return self

    @model_validator(mode="after")
    def _as_many_as_are_kept(self) -> RejectionSettings:
        if self.keep == "top_n" and self.top_n is None:
            raise ValueError("keep is top_n, and top_n does not say how many; add it, for example top_n: 4")
        if self.keep == "best" and self.top_n is not None:
            raise ValueError(
                f"top_n is {self.top_n}, and keep is best, which keeps one answer; say keep: top_n, or leave top_n out"
            )
        if self.top_n is not None and self.top_n > self.samples_per_prompt:
            raise ValueError(
                f"top_n is {self.top_n}; of samples_per_prompt {self.samples_per_prompt} no more than those can be kept"
            )
        return self
