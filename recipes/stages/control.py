"""Stage `control`: a model beside the versions, so that no gain is credited to RLHF that more training gives too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Makes, Processes, Reads, Size, StageKind
from recipes.stages.replayed import Replay, data_of, reads_of

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.records import Dialogue
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from rl.settings import RejectionSettings


@dataclass(frozen=True, kw_only=True)
class ControlInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        settings: of the versions' fine-tuning, which it repeats on demonstrations.
        demonstrations: SFT's.
        versions: the rejection stages whose steps, dialogues and documents it takes.
        replay: documents that they mixed in, where some were asked for.
    """

    settings: RejectionSettings
    demonstrations: DataSettings
    versions: tuple[str, ...]
    replay: Replay | None = None

    settings_key = "rlhf.rejection"

    def reads(self) -> Reads:
        """The versions' section, the demonstrations and the documents."""
        own = {"rlhf.rejection": self.settings, "sft.data": self.demonstrations}
        return {**super().reads(), **own, **reads_of(self.replay)}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The demonstrations, then the documents."""
        return (self.dialogues(), *data_of(self.replay))

    def dialogues(self) -> DataSet[Dialogue]:
        """The demonstrations."""
        return DataSet(key="sft", settings=self.demonstrations, records=DIALOGUES)


def run(inputs: ControlInputs, stage: StageContext) -> dict[str, Any]:
    """Train as long as the versions did; saves `checkpoint/`."""
    from rl.control import Round, train_control

    results = [stage.result_of(name) for name in inputs.versions]
    rounds = [
        Round(
            version=int(result["version"]),
            steps=int(result["steps"]),
            dialogues=int(result["dialogues"]),
            documents=int(result.get("replayed_documents", 0)),
        )
        for result in results
    ]
    dialogues, documents = stage.load(inputs.dialogues()), stage.replayed(inputs.replay)
    return train_control(
        stage.start(), dialogues.train, rounds, inputs.settings, stage.session, documents=documents
    ).as_json()


def size(inputs: ControlInputs) -> Size:
    """What it repeats; its steps are known when the versions have been trained."""
    return Size(first=f"the steps of {len(inputs.versions)} versions together, on demonstrations alone")


def doubts(inputs: ControlInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps."""
    return tuple(training_doubts(inputs.settings.optimizer, result, "rlhf.rejection"))


def section(inputs: ControlInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.report import control_section

    return control_section(folder, stage=name, result=result, versions=inputs.versions)


CONTROL = StageKind(
    name="control",
    does="A model trained on as long as the versions without RLHF, to compare them with",
    run=run,
    section=section,
    size=size,
    doubts=doubts,
    shown=("steps",),
    processes=Processes.ALL,
    makes=frozenset({Makes.CONTROL}),
)
