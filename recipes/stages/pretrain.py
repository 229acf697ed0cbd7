"""Stage `pretrain`: next-token prediction on documents (Llama 2 paper, 2), from fresh weights or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DOCUMENTS
from recipes.stages.doubts import training_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Processes, Reads, Size, StageKind
from recipes.stages.needs import Needs, packed_needs
from recipes.stages.packed import packed_size

if TYPE_CHECKING:
    from alignment.records import Document
    from alignment.report.blocks import Section
    from recipes.reading.schema import PretrainStageSettings
    from recipes.stages.context import StageContext


@dataclass(frozen=True, kw_only=True)
class PretrainInputs(FromPolicy):
    """All that the stage reads of the recipe."""

    settings: PretrainStageSettings

    def reads(self) -> Reads:
        """The section, and the model's."""
        return {**super().reads(), "pretrain": self.settings}

    def data(self) -> tuple[DataSet[Document]]:
        """The documents."""
        return (DataSet(key="pretrain", settings=self.settings.data, records=DOCUMENTS),)


def run(inputs: PretrainInputs, stage: StageContext) -> dict[str, Any]:
    """Pretrain; saves `checkpoint/`."""
    from alignment.model.checkpoint import count_parameters, new_model
    from alignment.policy.policy import Policy
    from alignment.train.pretrain import pretrain

    (data,) = inputs.data()
    documents = stage.load(data)
    if inputs.model is not None and inputs.model.path is None:
        tokenizer = stage.tokenizer()
        model = new_model(inputs.model, tokenizer.vocab_size, seed=stage.session.seed)
        if inputs.model.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        policy = Policy(model=model, tokenizer=tokenizer)
    else:
        policy = stage.start()
    result = pretrain(policy, documents.train, inputs.settings, stage.session, held_out=documents.held_out)
    return {**result.as_json(), "parameters": count_parameters(policy.model)}


def prepare(inputs: PretrainInputs, lens: Lens) -> tuple[Prepared]:
    """Pieces and steps, as `pretrain` makes them."""
    from alignment.batch.render import document_trees
    from alignment.train.language_model import packed_steps

    (data,) = inputs.data()
    settings, documents = inputs.settings, lens.records(data)
    context = lens.within(settings.context_length)
    lengths = tuple(len(ids) + 2 for ids in lens.tokenizer.encode_all([d.text for d in documents]))  # BOS and EOS
    trees = document_trees(documents, lens.tokenizer, context)
    split = {"pieces after splitting": len(trees)} if max(lengths, default=0) > context else {}
    steps = packed_steps(trees, settings, context, seed=lens.seed, name="pretrain").num_steps
    asked = lens.too_much("pretrain.context_length", settings.asked_context)
    return (Prepared(key=data.key, lengths=lengths, context=context, policy=split, steps=steps, asked=asked),)


def size(inputs: PretrainInputs) -> Size:
    """Steps and tokens."""
    return packed_size(inputs.settings)


def needs(inputs: PretrainInputs) -> Needs:
    """One model that is trained."""
    return packed_needs(inputs.settings)


def doubts(inputs: PretrainInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Too few steps."""
    return tuple(training_doubts(inputs.settings.optimizer, result, "pretrain"))


def section(inputs: PretrainInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.train.report import section as train_section

    return train_section(folder, stage=name, result=result)


PRETRAIN = StageKind(
    name="pretrain",
    does="Pretrain the core from scratch or go on from a checkpoint",
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
