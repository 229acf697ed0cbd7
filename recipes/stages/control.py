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
    from recipes.stages.rlhf_inputs import CampaignPrompts
    from rl.settings import RejectionSettings


@dataclass(frozen=True, kw_only=True)
class ControlInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        settings: of the versions' fine-tuning, which it repeats.
        demonstrations: SFT's; None where it trains on its own greedy answers instead.
        prompts: the versions', which it answers greedily; None where it trains on demonstrations.
        versions: the rejection stages whose steps, dialogues and documents it takes.
        replay: documents that they mixed in, where some were asked for.
    """

    settings: RejectionSettings
    demonstrations: DataSettings | None
    versions: tuple[str, ...]
    prompts: CampaignPrompts | None = None
    replay: Replay | None = None

    settings_key = "rlhf.rejection"

    def reads(self) -> Reads:
        """The versions' section, the demonstrations and the documents."""
        taught = {"sft.data": self.demonstrations} if self.prompts is None else self.prompts.reads()
        return {**super().reads(), "rlhf.rejection": self.settings, **taught, **reads_of(self.replay)}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The demonstrations or the prompts, then the documents."""
        asked = self.prompts.data() if self.prompts is not None else ()
        return (*self.dialogues(), *asked, *data_of(self.replay))

    def dialogues(self) -> tuple[DataSet[Dialogue], ...]:
        """The demonstrations."""
        if self.demonstrations is None:
            return ()
        return (DataSet(key="sft", settings=self.demonstrations, records=DIALOGUES),)


def run(inputs: ControlInputs, stage: StageContext) -> dict[str, Any]:
    """Train as long as the versions did; saves `checkpoint/`."""
    from rl.control import Round, train_control
    from rl.greedy_control import train_greedy_control

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
    start, settings, documents = stage.start(), inputs.settings, stage.replayed(inputs.replay)
    if inputs.prompts is not None:
        prompts = stage.load_campaigns(inputs.prompts.data()).train
        numbers = [each.version for each in rounds]
        return train_greedy_control(start, prompts, numbers, settings, stage.session, documents=documents).as_json()
    (demonstrations,) = inputs.dialogues()
    taught = stage.load(demonstrations).train
    return train_control(start, taught, rounds, settings, stage.session, documents=documents).as_json()


def size(inputs: ControlInputs) -> Size:
    """What it repeats; its steps are known when the versions have been trained."""
    taught = "demonstrations alone" if inputs.prompts is None else "its own greedy answers"
    return Size(first=f"the steps of {len(inputs.versions)} versions together, on {taught}")


def doubts(inputs: ControlInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps."""
    return tuple(training_doubts(inputs.settings.optimizer, result, "rlhf.rejection"))


def section(inputs: ControlInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from rl.report import control_section

    greedy = inputs.prompts is not None
    return control_section(folder, stage=name, result=result, versions=inputs.versions, greedy=greedy)


CONTROL = StageKind(
    name="control",
    does="Models trained on as long as the versions without a reward, to compare them with",
    run=run,
    section=section,
    size=size,
    doubts=doubts,
    shown=("steps",),
    processes=Processes.ONE,
    makes=frozenset({Makes.CONTROL}),
)
