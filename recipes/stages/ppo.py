"""Stage `ppo`: PPO on the version's rejection-sampling model (Llama 2 paper, 3.2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.stages.kind import DataSet, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.needs import Needs
from recipes.stages.replayed import Replay, data_of, reads_of
from recipes.stages.rlhf_inputs import Judged

if TYPE_CHECKING:
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels
    from rl.settings import PpoSettings


@dataclass(frozen=True, kw_only=True)
class PpoInputs(Judged):
    """All that the stage reads of the recipe.

    Attributes:
        new_judges: its reward models have judged for no stage before: they are checked.
        replay: documents that are trained on beside, where some are asked for.
    """

    settings: PpoSettings
    prompts: CampaignPrompts
    judges: RewardModels
    new_judges: bool = False
    replay: Replay | None = None

    settings_key = "rlhf.ppo"

    def reads(self) -> Reads:
        """Prompts, what scores, combination and the section."""
        own = {"rlhf.combination": self.judges.combination, "rlhf.ppo": self.settings}
        return {**super().reads(), **self.prompts.reads(), **self.judges.reads(), **own, **reads_of(self.replay)}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The prompts by campaign, then the documents."""
        return (*self.prompts.data(), *data_of(self.replay))


def run(inputs: PpoInputs, stage: StageContext) -> dict[str, Any]:
    """Train by PPO; saves `checkpoint/` and `ppo.json`."""
    from rl.ppo import PromptSplit, train_ppo

    if inputs.new_judges:
        inputs.judges.check(stage)
    prompts = stage.load_campaigns(inputs.prompts.data())
    split = PromptSplit(train=prompts.train, held_out=prompts.validation)
    documents = stage.replayed(inputs.replay)
    result = train_ppo(stage.start(), inputs.judges.open(stage), split, inputs.settings, stage.session, documents)
    return result.as_json()


def prepare(inputs: PpoInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Prompts that leave room for an answer, as they are drawn."""
    prompts = inputs.prompts.prepare(lens, inputs.settings.sampling)
    longest = max((length for prepared in prompts for length in prepared.lengths), default=0)
    replayed = inputs.replay.prepare(lens, lens.positions or longest) if inputs.replay is not None else ()
    return (*prompts, *replayed)


def size(inputs: PpoInputs) -> Size:
    """Iterations, answers, new tokens."""
    settings = inputs.settings
    iterations = settings.value_iterations + settings.iterations
    limit = iterations * settings.batch_size * settings.sampling.max_new_tokens
    answers = f"{iterations:,} iterations × {settings.batch_size:,} answers"
    return Size(first=f"{answers} (at most {limit:,} new tokens)")


def needs(inputs: PpoInputs) -> Needs:
    """Policy and value function, and beside them the reference, the best policy so far and who judges."""
    from rl.settings.ppo import PACK_TOKENS

    settings = inputs.settings
    reference = () if settings.adapter is not None else ("reference",)  # the policy without its adapter is one
    length = 2 * settings.sampling.max_new_tokens
    updates = settings.epochs * (settings.batch_size // settings.minibatch_size)
    return Needs(
        trained=("policy", "value"),
        held=(*reference, "best policy", *inputs.judges.resident()),
        tokens=max(min(settings.minibatch_size * length, PACK_TOKENS), length),
        longest=length,
        forests=max(1, -(-settings.minibatch_size * length // PACK_TOKENS)),
        steps=(settings.value_iterations + settings.iterations) * updates,
        adapter=settings.adapter,
        answers=(settings.value_iterations + settings.iterations) * settings.batch_size,
        together=settings.batch_size,
        new_tokens=settings.sampling.max_new_tokens,
    )


def doubts(inputs: PpoInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether no iteration was better than the start, and where reward and watch model part."""
    from rl.hacking import parting_sentence

    told = []
    if result.get("best_iteration") == 0:
        told.append(
            "no iteration was better on held-out prompts than the start: the result is the model that it started from"
        )
    if result.get("parted"):
        told.append(parting_sentence(result["parted"], compares=inputs.judges.outside_watch is not None))
    return tuple(told)


def section(inputs: PpoInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.report import ppo_section

    return ppo_section(folder, stage=name, result=result, compares=inputs.judges.outside_watch is not None)


PPO = StageKind(
    name="ppo",
    does="PPO on top of rejection sampling, every version's that has it",
    run=run,
    section=section,
    size=size,
    needs=needs,
    prepare=prepare,
    doubts=doubts,
    shown=("best_reward",),
    processes=Processes.ONE,
    makes=frozenset({Makes.POLICY}),
    revision=2,  # 1, release 0.1.0: the value function was the reward model itself and never learnt alone
)
