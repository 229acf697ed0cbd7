"""Stage `gatt`: Ghost Attention (Llama 2 paper, 3.3): an instruction kept over many turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from alignment.errors import DataError
from recipes.stages.constrained import constraints_of
from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.needs import Needs, packed_needs
from recipes.stages.packed import packed_size
from recipes.stages.replayed import Replay, data_of, reads_of

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.report.blocks import Section
    from recipes.reading.schema import GattStageSettings
    from recipes.stages.context import StageContext


@dataclass(frozen=True, kw_only=True)
class GattInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        mixed_in: demonstrations that are mixed in, where a share is asked for.
        replay: documents that are mixed in, where some are asked for.
    """

    settings: GattStageSettings
    mixed_in: DataSettings | None = None
    replay: Replay | None = None

    settings_key = "gatt"
    # which version it comes after: naming the last version and saying 0 is the same stage
    told_by_parents = frozenset({"gatt.after"})

    def reads(self) -> Reads:
        """The section, and what is mixed in."""
        mixed = {"sft.data": self.mixed_in} if self.mixed_in is not None else {}
        return {**super().reads(), "gatt": self.settings, **mixed, **reads_of(self.replay)}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The dialogues whose user turns are used, then the demonstrations and the documents to mix in."""
        own = DataSet(key="gatt", settings=self.settings.data, records=DIALOGUES)
        return (own, *self.demonstrations(), *data_of(self.replay))

    def constraints(self) -> dict[str, str]:
        """The section's."""
        return {"gatt.constraints": self.settings.constraints}

    def demonstrations(self) -> tuple[DataSet[Any], ...]:
        """The demonstrations to mix in."""
        if self.mixed_in is None:
            return ()
        return (DataSet(key="sft", settings=self.mixed_in, records=DIALOGUES),)


def run(inputs: GattInputs, stage: StageContext) -> dict[str, Any]:
    """Synthesise dialogues and fine-tune on them; saves `checkpoint/` and `gatt.json`."""
    from gatt.train import train_gatt

    dialogues = stage.load(inputs.data()[0], with_test=True)
    if not dialogues.test:
        raise DataError(
            "gatt.data: nothing is held out to measure with, and dialogues that were trained on cannot tell; name "
            "held_out sources, or keep a share of the prompts for it (split.test)"
        )
    seen, unseen = constraints_of(inputs.settings.constraints, stage, grouped=inputs.settings.evaluation_groups)
    return train_gatt(
        stage.start(),
        dialogues.train,
        dialogues.test,
        seen,
        unseen,
        inputs.settings,
        stage.session,
        sft_dialogues=[dialogue for data in inputs.demonstrations() for dialogue in stage.read(data).train],
        documents=stage.replayed(inputs.replay),
    ).as_json()


def prepare(inputs: GattInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Lengths of the dialogues whose user turns are used; what is trained on is synthesised first."""
    from alignment.text.chat import render_dialogue

    data = inputs.data()[0]
    context = lens.within(inputs.settings.context_length)
    lengths = tuple(len(render_dialogue(dialogue, lens.tokenizer).token_ids) for dialogue in lens.records(data))
    asked = lens.too_much("gatt.context_length", inputs.settings.asked_context)
    own = Prepared(key=data.key, lengths=lengths, context=context, policy={}, asked=asked)
    return (own, *(inputs.replay.prepare(lens, context) if inputs.replay is not None else ()))


def size(inputs: GattInputs) -> Size:
    """Dialogues synthesised, then steps and tokens."""
    settings = inputs.settings
    return packed_size(settings, first=f"{settings.num_dialogues:,} dialogues of {settings.turns} turns")


def needs(inputs: GattInputs) -> Needs:
    """One model that draws the dialogues and is then trained."""
    settings = inputs.settings
    return dataclasses.replace(
        packed_needs(settings, adapter=settings.adapter),
        answers=settings.num_dialogues * settings.turns,
        together=settings.num_dialogues,
        new_tokens=settings.sampling.max_new_tokens,
    )


def doubts(inputs: GattInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps; dialogues that hardly reach the turns that were asked for."""
    return (*training_doubts(inputs.settings.optimizer, result, "gatt"), *_short(inputs.settings.turns, result))


def _short(turns: int, result: Mapping[str, Any]) -> tuple[str, ...]:
    made = result.get("synthesis", {})
    if "turns_kept" not in made or made["complete"] * 2 >= made["planned"]:
        return ()
    return (
        f"{made['complete']:,.0f} of {made['planned']:,.0f} dialogues came to all {turns} turns within the context: "
        f"lower gatt.turns, raise gatt.attempts, or train a longer context",
    )


def figures(folder: Path) -> dict[str, float]:
    """Instructions kept by turn, before and after, as a study compares them."""
    from gatt.kept import kept_figures

    return kept_figures(folder / "gatt.json")


def section(inputs: GattInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from gatt.report import section as gatt_section

    return gatt_section(folder, stage=name, result=result)


GATT = StageKind(
    name="gatt",
    does="Ghost Attention: synthesise dialogues and fine-tune on them",
    run=run,
    section=section,
    size=size,
    needs=needs,
    prepare=prepare,
    processes=Processes.ONE,
    doubts=doubts,
    figures=figures,
    makes=frozenset({Makes.POLICY}),
    # 1, release 0.1.0: another draw of the SFT dialogues mixed in, and loss on their last answer only
    # 2: measured with validation dialogues, or with those that it was trained on
    revision=3,
)
