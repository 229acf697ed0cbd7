"""Settings of the versions V1 … Vn: what each collects, the combined reward, the checks, the controls.  No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from alignment.data.settings import DataSettings
from alignment.settings import Settings, setting
from rl.settings.baselines import DpoSettings, GrpoSettings
from rl.settings.ppo import PpoSettings
from rl.settings.rejection import RejectionSettings

Control = Literal["steps", "greedy"]

Baseline = Literal["dpo", "grpo"]

Refresh = Literal["fresh", "continue"]


class CombinationSettings(Settings):
    """How the two reward models become one score (Llama 2 paper, 3.2.3)."""

    safety_threshold: float = setting(
        0.15, "the safety score counts where it lies below this, or the prompt is a safety one", ge=0, le=1
    )


WhatFollows = Literal["tell", "stop", "skip"]


class ChecksSettings(Settings):
    """What follows where a check before RLHF fails: it is told, it stops, or it is not made."""

    threshold: WhatFollows = setting("tell", "scores of held-out answers lie on both sides of the safety threshold")
    refusals: WhatFollows = setting(
        "tell", "the safety model prefers safe answers to unsafe ones, and on fine prompts an answer to a refusal"
    )
    flaws: WhatFollows = setting("tell", "both models rank flawed copies of right answers below them")
    kept: WhatFollows = setting(
        "tell",
        "what a version keeps beats its greedy answers by the watch model (where `rejection.guard` draws them); "
        "without a watch model, the helpfulness model is right about held-out pairs of the policy's own answers",
    )
    disjoint: WhatFollows = setting(
        "tell", "no stage trains on a prompt that another holds out, and none chooses by one that is reported on"
    )


class VersionCollectSettings(Settings):
    """What a version after the first collects of its own answers (Llama 2 paper, 3.2.1: comparisons every week, of the
    newest model); what is null is as the section `collect` says, and so are prompts, annotator and the rest."""

    num_prompts: int | None = setting(None, "training prompts of the helpfulness campaign", ge=1)
    num_safety_prompts: int | None = setting(None, "training prompts of the safety campaign", ge=1)
    num_held_out: int | None = setting(None, "prompts of each campaign's validation part", ge=0)
    num_watch: int | None = setting(None, "further training prompts of each campaign, for the watch model alone", ge=0)
    temperatures: tuple[Annotated[float, Field(ge=0, le=10)], ...] | None = setting(
        None, "the newest model answers at each; before PPO it answers at PPO's alone"
    )
    answers: int | None = setting(None, "answers to a prompt at each temperature", ge=1, le=256)
    pairs_per_prompt: int | None = setting(None, "pairs of a prompt's answers that are compared, at most", ge=1)
    older_share: float = setting(
        1.0, "the share that a refreshed reward model reads of everything but the newest comparisons", ge=0, le=1
    )


class RlhfSettings(Settings):
    """RLHF-V1 … Vn (Llama 2 paper, 3.2.3): rejection sampling in every version, PPO on top from `ppo_from`."""

    versions: int = setting(5, "how many versions", ge=1, le=20)
    ppo_from: int = setting(5, "the first version with PPO on top of its rejection sampling; versions+1: never", ge=1)
    prompts: DataSettings = setting(..., "prompts to answer; held-out prompts measure the versions")
    safety_prompts: DataSettings | None = setting(None, "adversarial prompts, scored by the safety model")
    combination: CombinationSettings = setting(CombinationSettings(), "the combined reward")
    collect: VersionCollectSettings | None = setting(
        None,
        "what every version after the first collects of the newest model's answers; null: reward models learn from the "
        "first model's answers alone",
        added=True,
    )
    refresh: Refresh | None = setting(
        None,
        "where the reward models of every version after the first start, which learn from all comparisons so far; "
        "fresh: from the newest model's body; continue: from the previous version's reward models; null or false: the "
        "first version's judge all versions",
        added=True,
    )
    checks: ChecksSettings = setting(
        ChecksSettings(), "what follows where the reward models or the prompts are not fit for RLHF", cosmetic=True
    )
    rejection: RejectionSettings = setting(RejectionSettings(), "rejection sampling")
    ppo: PpoSettings = setting(PpoSettings(), "PPO")
    controls: tuple[Control, ...] = setting(
        (),
        "models that are evaluated beside the versions, so that no gain is credited to RLHF that they have too; steps: "
        "as many steps as rejection sampling of all versions, with the same documents, on demonstrations alone; "
        "greedy: version by version on the model's own greedy answers to the same prompts, with the same documents",
        added=True,
    )

    baselines: tuple[Baseline, ...] = setting(
        (),
        "what people use instead, by the library TRL, from the same start and evaluated beside the versions; dpo: on "
        "the collected pairs; grpo: with the combined reward, on the same prompts",
        added=True,
    )
    dpo: DpoSettings | None = setting(None, "the baseline dpo; null: its paper's values", added=True)
    grpo: GrpoSettings | None = setting(None, "the baseline grpo; null: its paper's values", added=True)

    @field_validator("refresh", mode="before")
    @classmethod
    def _false_is_none(cls, refresh: object) -> object:
        return None if refresh is False else refresh

    @field_validator("controls", "baselines")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} more than once; each is one model")
        return names

    @model_validator(mode="after")
    def _sections_of_named_baselines(self) -> RlhfSettings:
        unread = [name for name in ("dpo", "grpo") if getattr(self, name) is not None and name not in self.baselines]
        if unread:
            raise ValueError(
                f"{' and '.join(unread)} say how a baseline is trained that is not asked for; name it: "
                f"baselines: [{', '.join((*self.baselines, *unread))}], or leave the section out"
            )
        return self
