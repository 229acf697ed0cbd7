"""The documents that a stage after pretraining replays: where they come from, what of that is its fingerprint.

No torch, no pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignment.data.record_types import DOCUMENTS
from recipes.stages.kind import DataSet, Lens, Prepared, Reads

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.records import Document

BORROWED = "pretrain"  # the section whose documents are replayed where no source is named


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a stage is handed of the documents that it replays.

    Attributes:
        key: the recipe's dotted key of the setting ("sft.replay").
        documents: its own sources', or pretraining's.
        borrowed: whether they are pretraining's.
    """

    key: str
    documents: DataSettings
    borrowed: bool

    def reads(self) -> Reads:
        """Pretraining's data where it is borrowed; the stage's own section says the rest."""
        return {f"{BORROWED}.data": self.documents} if self.borrowed else {}

    def data(self) -> DataSet[Document]:
        """The documents."""
        return DataSet(key=BORROWED if self.borrowed else self.key, settings=self.documents, records=DOCUMENTS)

    def prepare(self, lens: Lens, context: int) -> tuple[Prepared, ...]:
        """Lengths of its own sources' documents; pretraining's are told by pretraining."""
        if self.borrowed:
            return ()
        texts = [document.text for document in lens.records(self.data())]
        lengths = tuple(len(ids) + 2 for ids in lens.tokenizer.encode_all(texts))  # BOS and EOS
        longer = sum(length > context for length in lengths)
        return (Prepared(key=self.key, lengths=lengths, context=context, policy={"split": longer} if longer else {}),)


def data_of(replay: Replay | None) -> tuple[DataSet[Document], ...]:
    """The data set of what is replayed; none where nothing is."""
    return () if replay is None else (replay.data(),)


def reads_of(replay: Replay | None) -> Reads:
    """What replaying adds to a stage's fingerprint."""
    return {} if replay is None else replay.reads()
