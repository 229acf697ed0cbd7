"""Stage `dpo`: what people use instead of RLHF, direct preference optimisation by TRL on the collected pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import PREFERENCES
from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.records import LabelledAnswer, Preference
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from rl.settings import DpoSettings


@dataclass(frozen=True, kw_only=True)
class DpoInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        pairs: the section's data, or what the run collects.
    """

    settings: DpoSettings
    pairs: DataSettings

    settings_key = "rlhf.dpo"

    def reads(self) -> Reads:
        """The section, with the pairs that it means."""
        return {**super().reads(), "rlhf.dpo": self.settings.model_copy(update={"data": self.pairs})}

    def data(self) -> tuple[DataSet[Preference | LabelledAnswer]]:
        """The pairs."""
        return (DataSet(key="rlhf.dpo", settings=self.pairs, records=PREFERENCES),)


def run(inputs: DpoInputs, stage: StageContext) -> dict[str, Any]:
    """Train by TRL; saves `checkpoint/` and `dpo.json`."""
    from rl.dpo import train_dpo

    (data,) = inputs.data()
    pairs = stage.load(data)
    result = train_dpo(stage.start(), pairs.train, inputs.settings, stage.session, held_out=pairs.held_out)
    return result.as_json()


def prepare(inputs: DpoInputs, lens: Lens) -> tuple[Prepared]:
    """Pairs that fit and steps, as `train_dpo` makes them."""
    from rl.dpo import pair_steps, token_pairs

    (data,) = inputs.data()
    settings, records = inputs.settings, lens.records(data)
    context = lens.within(settings.context_length)
    pairs, _ = token_pairs(records, lens.tokenizer)
    too_long = sum(pair.longest > context for pair in pairs)
    return (
        Prepared(
            key=data.key,
            lengths=tuple(pair.longest for pair in pairs),
            context=context,
            policy={"left out": too_long} if too_long else {},
            steps=pair_steps(len(pairs) - too_long, settings),
            asked=lens.too_much("rlhf.dpo.context_length", settings.asked_context),
        ),
    )


def size(inputs: DpoInputs) -> Size:
    """Pairs and epochs."""
    return Size(unit="pairs", batch_size=inputs.settings.batch_size, epochs=inputs.settings.epochs)


def doubts(inputs: DpoInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps."""
    return tuple(training_doubts(inputs.settings.optimizer, result, "rlhf.dpo"))


def section(inputs: DpoInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.baseline_report import dpo_section

    return dpo_section(folder, stage=name, result=result)


DPO = StageKind(
    name="dpo",
    does="Baseline: DPO by TRL on the collected pairs, to compare the versions with",
    run=run,
    section=section,
    size=size,
    prepare=prepare,
    doubts=doubts,
    shown=("accuracy", "steps"),
    processes=Processes.ONE,
    makes=frozenset({Makes.CONTROL}),
)
