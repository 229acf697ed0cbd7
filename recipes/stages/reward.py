"""Stage `reward`: one reward model from graded preferences (Llama 2 paper, 3.2.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignment.data.record_types import PREFERENCES
from recipes.stages.doubts import accuracy_doubts, threshold_doubts, training_doubts
from recipes.stages.judge_checks import failed_checks
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.needs import Needs, paired_needs

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.records import LabelledAnswer, Preference
    from alignment.report.blocks import Section
    from recipes.reading.schema import RewardStageSettings
    from recipes.stages.context import StageContext

NOTICED = "noticed.json"


@dataclass(frozen=True, kw_only=True)
class RewardInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        comparisons: what it is trained on, out of its section; a later version's have accumulated.
        probed: the campaigns of the world in whose answers the model is asked what flaws it notices.
        safety_threshold: the recipe's, marked on the page; no part of what the stage does.
        version: of RLHF, whose answers it judges.
        later: what the recipe says of reward models of later versions: `rlhf.collect` and `rlhf.refresh`.
        continues: the stage whose reward model it goes on from; None: a new head on the policy that it starts from.
        settings_key: the section's.
    """

    role: str
    settings: RewardStageSettings
    comparisons: DataSettings
    probed: tuple[Literal["helpfulness", "safety"], ...] = ()
    safety_threshold: float | None = None
    version: int = 1
    later: Mapping[str, Any] = field(default_factory=dict)
    continues: str | None = None
    settings_key: str = ""

    def reads(self) -> Reads:
        """The role's section."""
        return {**super().reads(), f"reward.{self.role}": self.settings, **self.later}

    def data(self) -> tuple[DataSet[Preference | LabelledAnswer]]:
        """The comparisons."""
        return (DataSet(key=f"reward.{self.role}", settings=self.comparisons, records=PREFERENCES),)


def run(inputs: RewardInputs, stage: StageContext) -> dict[str, Any]:
    """Train one reward model; saves `checkpoint/`, `evaluation.json` and, with flawed answers, `noticed.json`."""
    from alignment.store.atomic import write_json
    from alignment.train.language_model import longest_sequence
    from reward.flaws import read_flaws, require_room
    from reward.model import RewardModel
    from reward.notices import noticed, world_probes
    from reward.train import train_reward

    (data,) = inputs.data()
    pairs, policy = stage.load(data), stage.start()
    own, session = inputs.settings, stage.session
    probes = read_flaws(own.flaws) if own.flaws is not None else []
    require_room(probes, policy.tokenizer, longest_sequence(policy, own))  # before the training, not after
    before = RewardModel.load(stage.folder_of(inputs.continues) / "checkpoint") if inputs.continues else None
    result = train_reward(policy, pairs.train, own, session, held_out=pairs.held_out, name=inputs.role, start=before)
    if stage.world is not None:
        for campaign in inputs.probed:
            probes += world_probes(stage.world, campaign)
    if not probes:
        return result.as_json()
    found = noticed(RewardModel.load(session.folder / "checkpoint"), probes, session.compute)
    write_json(session.folder / NOTICED, found)
    return {**result.as_json(), "noticed": found}


def prepare(inputs: RewardInputs, lens: Lens) -> tuple[Prepared]:
    """Pairs that fit and steps, as `train_reward` makes them."""
    from reward.flaws import read_flaws, require_room
    from reward.preferences import longest_with_answer, prepare_pairs
    from reward.train import pair_steps

    (data,) = inputs.data()
    settings, records = inputs.settings, lens.records(data)
    context = lens.within(settings.context_length)
    if settings.flaws is not None:
        require_room(read_flaws(settings.flaws), lens.tokenizer, context)
    pairs = prepare_pairs(records, lens.tokenizer, margin=settings.margin, context_length=context)
    pairs.require_some(context)
    return (
        Prepared(
            key=data.key,
            lengths=tuple(longest_with_answer(record, lens.tokenizer) for record in records),
            context=context,
            policy={"left out": pairs.too_long} if pairs.too_long else {},
            steps=pair_steps(pairs.examples, settings, context, seed=lens.seed, name=inputs.role).num_steps,
            asked=lens.too_much(f"{data.key}.context_length", settings.asked_context),
        ),
    )


def size(inputs: RewardInputs) -> Size:
    """Pairs and steps."""
    settings = inputs.settings
    return Size(unit="pairs", batch_size=settings.batch_size, epochs=settings.epochs, max_steps=settings.max_steps)


def needs(inputs: RewardInputs) -> Needs:
    """One model that is trained."""
    return paired_needs(inputs.settings, f"reward-{inputs.role}", inputs.settings.adapter)


def figures(folder: Path) -> dict[str, float]:
    """Accuracy by grade and safety bin, the unsafe side, calibration, length."""
    from reward.report import compared_figures

    return compared_figures(folder)


def doubts(inputs: RewardInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps, an accuracy like a coin's, or scores that RLHF cannot go by."""
    found = [*training_doubts(inputs.settings.optimizer, result, f"reward.{inputs.role}"), *accuracy_doubts(result)]
    if inputs.role == "safety":
        found += threshold_doubts(inputs.settings.safety_weight, inputs.safety_threshold)
    if inputs.safety_threshold is not None:
        found += [check.sentence for check in failed_checks(inputs.role, result, inputs.safety_threshold)]
    return tuple(found)


def section(inputs: RewardInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from reward.report import section as reward_section

    marked = inputs.safety_threshold if inputs.role == "safety" else None
    found = reward_section(folder, stage=name, result=result, safety_threshold=marked)
    # no answer is rewarded by the watch model; later versions' figures stand together in the evaluation's chapter
    return dataclasses.replace(found, folded=inputs.role == "watch" or inputs.version > 1)


REWARD = StageKind(
    name="reward",
    does="Train the helpfulness and the safety reward model",
    only=("helpfulness", "safety", "watch"),
    run=run,
    section=section,
    size=size,
    needs=needs,
    prepare=prepare,
    doubts=doubts,
    figures=figures,
    shown=("accuracy", "loss", "steps"),
    processes=Processes.ALL,
    makes=frozenset({Makes.REWARD_MODEL}),
)
