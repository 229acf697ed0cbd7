"""Stage `rejection`: one RLHF version by rejection sampling fine-tuning (Llama 2 paper, 3.2.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.stages.doubts import answer_doubts, temperature_doubts, training_doubts
from recipes.stages.kind import DataSet, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.larger import open_sampler, require_sampler_fit
from recipes.stages.needs import Needs, packed_needs
from recipes.stages.packed import packed_size
from recipes.stages.replayed import Replay, data_of, reads_of
from recipes.stages.rlhf_inputs import Judged

if TYPE_CHECKING:
    from alignment.records import Dialogue
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from recipes.stages.disjoint import PromptPools
    from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels
    from rl.settings import RejectionSettings


@dataclass(frozen=True, kw_only=True)
class RejectionInputs(Judged):
    """All that the stage reads of the recipe.

    Attributes:
        version: its number, from 1.
        judges: the reward models.
        samples_from: the stage whose model draws the answers, where no checkpoint does (`settings.samples_from`); None:
            the one that is trained.
        earlier: rejection stages whose kept answers stay in the pool.
        new_judges: its reward models have judged for no version before: they are checked.
        mixed_in: demonstrations that are mixed in, where a share is asked for; SFT's, or sources of its own.
        replay: documents that are mixed in, where some are asked for.
        pools: what the stages so far read, for the checks before the first version; no part of what the stage does.
    """

    version: int
    settings: RejectionSettings
    prompts: CampaignPrompts
    judges: RewardModels
    samples_from: str | None = None
    earlier: tuple[str, ...] = ()
    mixed_in: DataSet[Dialogue] | None = None
    replay: Replay | None = None
    new_judges: bool = False
    pools: PromptPools | None = None

    settings_key = "rlhf.rejection"

    def reads(self) -> Reads:
        """Prompts, what scores, combination, the section, and what is mixed in."""
        own = {"rlhf.combination": self.judges.combination, "rlhf.rejection": self.settings}
        mixed = (
            {"sft.data": self.mixed_in.settings} if self.mixed_in is not None and not self.settings.sft_source else {}
        )
        return {
            **super().reads(),
            **self.prompts.reads(),
            **self.judges.reads(),
            **own,
            **mixed,
            **reads_of(self.replay),
        }

    def data(self) -> tuple[DataSet[Any], ...]:
        """The prompts by campaign, then the demonstrations and the documents to mix in."""
        return (*self.prompts.data(), *self.demonstrations(), *data_of(self.replay))

    def demonstrations(self) -> tuple[DataSet[Dialogue], ...]:
        """The demonstrations to mix in."""
        return () if self.mixed_in is None else (self.mixed_in,)


def run(inputs: RejectionInputs, stage: StageContext) -> dict[str, Any]:
    """Make one version; saves `checkpoint/`, `kept.jsonl`, `records.jsonl`, `rejection.json`."""
    from alignment.data.rows.written import RECORDS_FILE, write_records
    from rl.kept import KEPT_FILE, read_kept
    from rl.rejection import rejection_sample

    if inputs.new_judges:
        inputs.judges.check(stage, inputs.pools)
    prompts = stage.load_campaigns(inputs.prompts.data())
    sampler = start = stage.start()
    if inputs.settings.samples_from is not None:
        sampler = open_sampler(inputs.settings.samples_from, stage)
    elif inputs.samples_from is not None:
        sampler = stage.policy_of(inputs.samples_from)
    result = rejection_sample(
        sampler,
        prompts.train,
        inputs.judges.open(stage),
        inputs.settings,
        stage.session,
        version=inputs.version,
        earlier=[stage.folder_of(name) for name in inputs.earlier],
        sft_dialogues=[dialogue for data in inputs.demonstrations() for dialogue in stage.read(data).train],
        start=start,
        documents=stage.replayed(inputs.replay),
        before_tuning=lambda figures: inputs.judges.check_kept(figures, stage),
    )
    # what was kept, as demonstrations that other stages may read
    by_id = {prompt.id: prompt for prompt in prompts.train}
    kept = read_kept(stage.session.folder / KEPT_FILE)
    write_records(stage.session.folder / RECORDS_FILE, (by_id[k.prompt_id].answered(k.answer) for k in kept))
    return result.as_json()


def prepare(inputs: RejectionInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Prompts that leave room for an answer, as they are drawn; brought models are looked at."""
    inputs.judges.require_fit(lens.tokenizer)
    require_sampler_fit(inputs.settings.samples_from, lens.tokenizer)
    replayed = inputs.replay.prepare(lens, lens.within(inputs.settings.context_length)) if inputs.replay else ()
    return (*inputs.prompts.prepare(lens, inputs.settings.sampling), *replayed)


def size(inputs: RejectionInputs) -> Size:
    """Answers drawn, then steps and tokens."""
    settings = inputs.settings
    prompts = f"{settings.prompts_per_version:,}" if settings.prompts_per_version else "all"
    first = f"{prompts} prompts × {settings.samples_per_prompt} answers"
    if settings.temperatures:
        first += f", {settings.sweep_prompts:,} of them at each of {len(settings.temperatures)} temperatures before"
    return packed_size(settings, first=first)


def needs(inputs: RejectionInputs) -> Needs:
    """The policy that draws and is then trained, and who judges."""
    settings = inputs.settings
    prompts = settings.prompts_per_version
    return dataclasses.replace(
        packed_needs(settings, adapter=settings.adapter, held=inputs.judges.resident()),
        answers=prompts * settings.samples_per_prompt if prompts else None,
        together=(prompts or settings.samples_per_prompt) * settings.samples_per_prompt,
        new_tokens=settings.sampling.max_new_tokens,
    )


def doubts(inputs: RejectionInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps, no answer that ends, or a temperature that nobody vouches for."""
    drawn = answer_doubts(result.get("mean_answer_tokens"), result.get("cut_share"), "the model", "rlhf.rejection")
    tried = temperature_doubts(inputs.settings, result.get("sweep"), watched=inputs.judges.watch is not None)
    return (*drawn, *tried, *training_doubts(inputs.settings.optimizer, result, "rlhf.rejection"))


def section(inputs: RejectionInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.report import rejection_section

    # one version is shown, the others' figures stand together in the evaluation's chapter
    return dataclasses.replace(rejection_section(folder, stage=name, result=result), folded=inputs.version > 1)


REJECTION = StageKind(
    name="rejection",
    does="Rejection sampling fine-tuning, every version's",
    run=run,
    section=section,
    size=size,
    needs=needs,
    prepare=prepare,
    doubts=doubts,
    shown=("kept_reward",),
    processes=Processes.ONE,
    revision=2,  # 1, release 0.1.0: kept answers were cut into tokens anew before they were trained on
    makes=frozenset({Makes.POLICY, Makes.RECORDS}),
)
