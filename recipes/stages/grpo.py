"""Stage `grpo`: what people use instead of rejection sampling and PPO, GRPO by TRL with the combined reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.rlhf_inputs import Judged

if TYPE_CHECKING:
    from alignment.records import Dialogue
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels
    from rl.settings import GrpoSettings


@dataclass(frozen=True, kw_only=True)
class GrpoInputs(Judged):
    """All that the stage reads of the recipe.

    Attributes:
        sampled_by: the stages whose samples it may draw as many as, where its section does not say how many: name ->
            answers of one of its iterations, None where its result counts them.
    """

    settings: GrpoSettings
    prompts: CampaignPrompts
    judges: RewardModels
    sampled_by: Mapping[str, int | None]

    settings_key = "rlhf.grpo"

    def reads(self) -> Reads:
        """Prompts, what scores, combination and the section."""
        own = {"rlhf.combination": self.judges.combination, "rlhf.grpo": self.settings}
        return {**super().reads(), **self.prompts.reads(), **self.judges.reads(), **own}

    def data(self) -> tuple[DataSet[Dialogue], ...]:
        """The prompts by campaign."""
        return self.prompts.data()


def run(inputs: GrpoInputs, stage: StageContext) -> dict[str, Any]:
    """Train by TRL; saves `checkpoint/` and `grpo.json`."""
    from rl.grpo import train_grpo
    from rl.ppo import PromptSplit

    drawn = [_drawn(stage.result_of(name), batch) for name, batch in inputs.sampled_by.items()]
    prompts = stage.load_campaigns(inputs.data())
    split = PromptSplit(train=prompts.train, held_out=prompts.validation)
    judges = inputs.judges.open(stage)
    budget = sum(drawn) or None
    return train_grpo(stage.start(), judges, split, inputs.settings, stage.session, budget=budget).as_json()


def _drawn(result: Mapping[str, Any], batch: int | None) -> int:
    """Answers that a stage drew to learn from."""
    return int(result["samples"]) if batch is None else int(result["iterations"]) * batch


def prepare(inputs: GrpoInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Prompts that leave room for an answer, as they are drawn."""
    return inputs.prompts.prepare(lens, inputs.settings.sampling)


def size(inputs: GrpoInputs) -> Size:
    """Answers, and how many a step."""
    settings = inputs.settings
    own = f"{settings.samples:,} answers" if settings.samples is not None else ""
    count = own or f"as many answers as {', '.join(inputs.sampled_by)}"
    return Size(first=f"{count}, {settings.batch_size:,} a step, {settings.samples_per_prompt:,} to a prompt")


def doubts(inputs: GrpoInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps, or whether no step was better than the start."""
    found = list(training_doubts(inputs.settings.optimizer, result, "rlhf.grpo"))
    if result.get("best_step") == 0:
        found.append(
            "no step was better on held-out prompts than the start: the result is the model that it began with"
        )
    return tuple(found)


def section(inputs: GrpoInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.baseline_report import grpo_section

    return grpo_section(folder, stage=name, result=result, compares=inputs.judges.outside_watch is not None)


GRPO = StageKind(
    name="grpo",
    does="Baseline: GRPO by TRL with the combined reward, to compare the versions with",
    run=run,
    section=section,
    size=size,
    prepare=prepare,
    doubts=doubts,
    shown=("best_reward",),
    processes=Processes.ONE,
    makes=frozenset({Makes.CONTROL}),
)
