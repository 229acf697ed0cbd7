"""Stage `reward`: one reward model from graded preferences (Llama 2 paper, 3.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import PREFERENCES
from recipes.stages.doubts import accuracy_doubts, training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind

if TYPE_CHECKING:
    from alignment.records import LabelledAnswer, Preference
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from reward.settings import RewardSettings


@dataclass(frozen=True, kw_only=True)
class RewardInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        role: "helpfulness" or "safety".
        probes_world: whether the model is asked what flaws it notices in the world's answers.
        safety_threshold: the recipe's, marked on the page; no part of what the stage does.
    """

    role: str
    settings: RewardSettings
    probes_world: bool = False
    safety_threshold: float | None = None

    def reads(self) -> Reads:
        """The role's section."""
        return {**super().reads(), f"reward.{self.role}": self.settings}

    def data(self) -> tuple[DataSet[Preference | LabelledAnswer]]:
        """The comparisons."""
        return (DataSet(key=f"reward.{self.role}", settings=self.settings.data, records=PREFERENCES),)


def run(inputs: RewardInputs, stage: StageContext) -> dict[str, Any]:
    """Train one reward model; saves `checkpoint/`, `evaluation.json` and, in a world, `noticed.json`."""
    from alignment.store.atomic import write_json
    from reward.model import RewardModel
    from reward.notices import noticed
    from reward.train import train_reward

    (data,) = inputs.data()
    pairs = stage.load(data)
    result = train_reward(
        stage.start(), pairs.train, inputs.settings, stage.session, held_out=pairs.held_out, name=inputs.role
    )
    if inputs.probes_world and stage.world is not None:
        model = RewardModel.load(stage.session.folder / "checkpoint")
        write_json(stage.session.folder / "noticed.json", noticed(model, stage.world, stage.session.compute))
    return result.as_json()


def prepare(inputs: RewardInputs, lens: Lens) -> tuple[Prepared]:
    """Pairs that fit and steps, as `train_reward` makes them."""
    from alignment.records import Preference
    from alignment.text.chat import answer_ids, render_prompt
    from reward.preferences import prepare_pairs
    from reward.train import pair_steps

    (data,) = inputs.data()
    settings, records = inputs.settings, lens.records(data)
    context = lens.within(settings.context_length)
    pairs = prepare_pairs(records, lens.tokenizer, margin=settings.margin, context_length=context)
    lengths = []
    for record in records:
        answers = [record.chosen, record.rejected] if isinstance(record, Preference) else [record.answer]
        longest = max(len(answer_ids(answer, lens.tokenizer)) for answer in answers)
        lengths.append(len(render_prompt(record.prompt, lens.tokenizer)) + longest)
    return (
        Prepared(
            key=data.key,
            lengths=tuple(lengths),
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


def doubts(inputs: RewardInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps, or an accuracy like a coin's."""
    steps = training_doubts(inputs.settings.optimizer, result, f"reward.{inputs.role}")
    return (*steps, *accuracy_doubts(result))


def section(inputs: RewardInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from reward.report import section as reward_section

    marked = inputs.safety_threshold if inputs.role == "safety" else None
    return reward_section(folder, stage=name, result=result, safety_threshold=marked)


REWARD = StageKind(
    name="reward",
    does="Train the helpfulness and the safety reward model",
    only=("helpfulness", "safety"),
    run=run,
    section=section,
    size=size,
    prepare=prepare,
    doubts=doubts,
    shown=("accuracy", "loss", "steps"),
    processes=Processes.ALL,
    makes=frozenset({Makes.REWARD_MODEL}),
)
