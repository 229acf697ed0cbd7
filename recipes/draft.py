"""The plan of a run as it is drafted: stages as they are added, and what their kinds are handed alike.  No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from alignment.data.record_types import DOCUMENTS, PREFERENCES
from alignment.data.settings import DataSettings
from alignment.train.settings import ReplaySource
from alignment.world.settings import WorldSettings
from recipes.reading.schema import Recipe
from recipes.reading.sources_said import sources_said
from recipes.stages.apart import Apart, Section
from recipes.stages.disjoint import PromptPools
from recipes.stages.kind import DataSet, Makes, PlannedStage, StageInputs, StageKind
from recipes.stages.replayed import Replay
from recipes.stages.rlhf_inputs import CampaignPrompts


class Draft:
    """Stages as they are added, parents before children."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.stages: list[PlannedStage] = []
        self.sections = [
            Section(key=key, settings=settings, records=records)
            for key, (settings, records) in recipe.data_sections.items()
        ]

    def add(
        self,
        kind: StageKind[Any, Any],
        name: str,
        inputs: StageInputs,
        *parents: str | None,
        starts_from: str | None = None,
        tokenizer: str | None = None,
    ) -> str:
        """Plan a stage; returns its name.  The stages whose records it reads are parents too."""
        read = (source.stage for data in inputs.data() for source in data.settings.sources)
        unique = tuple(dict.fromkeys(p for p in (starts_from, tokenizer, *parents, *read) if p is not None))
        self.stages.append(
            PlannedStage(
                name=name,
                kind=kind,
                inputs=dataclasses.replace(inputs, apart=self.apart(inputs.data())),
                number=len(self.stages) + 1,
                parents=unique,
                starts_from=starts_from,
                tokenizer=tokenizer,
            )
        )
        return name

    def start(self, parent: str | None) -> dict[str, Any]:
        """What every stage that starts from a policy is handed of the model's section."""
        model = self.recipe.model
        if parent is None:
            return {"model": model}
        return {"gradient_checkpointing": model.gradient_checkpointing}

    def apart(self, read: Sequence[DataSet[Any]]) -> Apart | None:
        """What the run keeps from the training of a stage that reads files; None where there is nothing to keep."""
        files = [data for data in read if _reads_files(data.settings)]
        if not files:
            return None
        texts = any(data.records is DOCUMENTS for data in files)
        later = [section for section in self.sections if section.records is not DOCUMENTS]
        test, validation = self.recipe.shares
        found = Apart(
            test=test,
            validation=validation,
            named=tuple(section for section in later if section.names_held_out),
            searched=tuple(s for s in later if s.reads_files)
            if texts and self.recipe.split.search_texts and test + validation
            else (),
            unsearched=texts and not self.recipe.split.search_texts,
            compares=any(data.records is PREFERENCES for data in files),
        )
        return found if found else None

    def world(self, *read: DataSettings | Replay | None, judged: bool = False) -> WorldSettings | None:
        """The embedded world for a stage that reads it, or judges by it."""
        data = [part.documents if isinstance(part, Replay) else part for part in read]
        return self.recipe.world if judged or any(sources_said(part, (), "world") for part in data) else None

    def replay(self, key: str, settings: ReplaySource | None) -> Replay | None:
        """The documents that a stage replays, where it is asked to."""
        pretraining = self.recipe.pretrain.data if self.recipe.pretrain is not None else None
        documents = settings.data(pretraining) if settings is not None else None
        if settings is None or documents is None:
            return None  # the recipe was checked
        return Replay(key=key, documents=documents, borrowed=settings.source is None)

    def pools(self, prompts: CampaignPrompts) -> PromptPools:
        """What the stages so far read, and the prompts of RLHF."""
        read = [(data, stage.inputs.apart) for stage in self.stages for data in stage.inputs.data()]
        apart = self.apart(prompts.data())
        return PromptPools.of([*read, *((data, apart) for data in prompts.data())], self.recipe.world)

    @property
    def prompts(self) -> CampaignPrompts | None:
        """RLHF's prompts by campaign."""
        rlhf = self.recipe.rlhf
        return CampaignPrompts(helpfulness=rlhf.prompts, safety=rlhf.safety_prompts) if rlhf is not None else None

    def making(self, what: Makes) -> list[str]:
        """The stages so far that make something."""
        return [stage.name for stage in self.stages if stage.makes(what)]


def _reads_files(data: DataSettings) -> bool:
    """Whether the run's split holds for a data set: a town's records and other stages' are split already."""
    return bool(data.held_out_fraction) or any(source.path or source.hub for source in data.sources)


def holds_out(data: DataSettings, test: float) -> bool:
    """Whether a data set has a test part: sources of its own, a town's, or a share of its prompts."""
    return bool(data.held_out or any(source.world for source in data.train) or (test and _reads_files(data)))
