"""Stage `sft`: supervised fine-tuning on dialogues (Llama 2 paper, 3.1), loss on answers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.needs import Needs, packed_needs
from recipes.stages.packed import packed_size
from recipes.stages.replayed import Replay, data_of, reads_of

if TYPE_CHECKING:
    from alignment.records import Dialogue
    from alignment.report.blocks import Section
    from recipes.reading.schema import SftStageSettings
    from recipes.stages.context import StageContext


@dataclass(frozen=True, kw_only=True)
class SftInputs(FromPolicy):
    """All that the stage reads of the recipe; the model's section always (as in every release so far).

    Attributes:
        replay: documents that are mixed in, where some are asked for.
    """

    settings: SftStageSettings
    replay: Replay | None = None

    settings_key = "sft"

    def reads(self) -> Reads:
        """The section, and the model's."""
        return {**super().reads(), "sft": self.settings, **reads_of(self.replay)}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The demonstrations, then the documents to mix in."""
        return (self.demonstrations(), *data_of(self.replay))

    def demonstrations(self) -> DataSet[Dialogue]:
        """The demonstrations."""
        return DataSet(key="sft", settings=self.settings.data, records=DIALOGUES)


def run(inputs: SftInputs, stage: StageContext) -> dict[str, Any]:
    """Fine-tune; saves `checkpoint/`."""
    from alignment.model.checkpoint import count_parameters
    from alignment.train.sft import sft

    dialogues, documents = stage.load(inputs.demonstrations()), stage.replayed(inputs.replay)
    policy = stage.start()
    result = sft(
        policy,
        dialogues.train,
        inputs.settings,
        stage.session,
        held_out=dialogues.held_out,
        documents=documents,
    )
    return {**result.as_json(), "parameters": count_parameters(policy.model)}


def prepare(inputs: SftInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Lengths, what the length policy does, and steps, as `sft` makes them."""
    from alignment.batch.render import dialogue_trees
    from alignment.text.chat import render_dialogue
    from alignment.train.language_model import packed_steps
    from alignment.train.sft import require_answers, sft_replay

    data = inputs.demonstrations()
    settings, dialogues = inputs.settings, lens.records(data)
    context = lens.within(settings.context_length)
    trees, counts = dialogue_trees(dialogues, lens.tokenizer, context, settings.too_long)
    documents = [document for own in data_of(inputs.replay) for document in lens.records(own)]
    require_answers(trees, counts, context)
    trees += sft_replay(lens.tokenizer, dialogues, documents, settings, context, lens.seed).trees
    replayed = inputs.replay.prepare(lens, context) if inputs.replay is not None else ()
    return (
        Prepared(
            key=data.key,
            lengths=tuple(len(render_dialogue(dialogue, lens.tokenizer).token_ids) for dialogue in dialogues),
            context=context,
            policy={name: count for name, count in counts.items() if count},
            steps=packed_steps(trees, settings, context, seed=lens.seed, name="sft").num_steps,
            asked=lens.too_much("sft.context_length", settings.asked_context),
        ),
        *replayed,
    )


def size(inputs: SftInputs) -> Size:
    """Steps and tokens."""
    return packed_size(inputs.settings)


def needs(inputs: SftInputs) -> Needs:
    """One model that is trained."""
    return packed_needs(inputs.settings, adapter=inputs.settings.adapter)


def doubts(inputs: SftInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps."""
    return tuple(training_doubts(inputs.settings.optimizer, result, "sft"))


def section(inputs: SftInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.train.report import section as train_section

    return train_section(folder, stage=name, result=result)


SFT = StageKind(
    name="sft",
    does="Supervised fine-tuning on dialogues, loss on answers only",
    run=run,
    section=section,
    size=size,
    needs=needs,
    prepare=prepare,
    doubts=doubts,
    shown=("perplexity", "steps"),
    processes=Processes.ALL,
    makes=frozenset({Makes.POLICY}),
)
