"""Documents replayed in a later training: drawn by name, and rendered as pretraining renders them.

Fine-tuning forgets what only documents say.  A share of them mixed in, each a tree of its own with a loss on every
token, keeps it (ours; as the pretraining mix of InstructGPT, Ouyang et al. 2022, 3.5, in plain fine-tuning).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignment.batch.render import document_trees
from alignment.batch.tree import Tree
from alignment.data.mixing import draw
from alignment.errors import SettingError
from alignment.given import given_records
from alignment.randomness import Name
from alignment.records import Document
from alignment.text.tokenizer import Tokenizer
from alignment.train.settings import ReplaySettings


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What is mixed in.

    Attributes:
        trees: one a document, more of one that is longer than the context.
        documents: how many they are.
    """

    trees: tuple[Tree, ...] = ()
    documents: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """`replayed_documents` and `replayed_tokens` for a result; nothing where nothing is replayed."""
        if not self.documents:
            return {}
        tokens = sum(tree.num_tokens for tree in self.trees)
        return {"replayed_documents": self.documents, "replayed_tokens": tokens}


def replayed_by_share(
    documents: Iterable[Document],
    settings: ReplaySettings | None,
    own: Sequence[object],
    tokenizer: Tokenizer,
    context_length: int,
    *,
    seed: int,
    names: tuple[Name, ...],
) -> Replayed:
    """The documents to mix in beside a stage's own records.

    Args:
        documents: all that may be drawn.
        settings: None replays nothing.
        own: the stage's own records, of which `share` counts.
        names: name the draw (stage, version), so that each version replays others.

    Raises:
        UsageError: what is given holds no documents.
        SettingError: there is none to draw, or the share of so few records is none.
    """
    if settings is None:
        return Replayed()
    texts = given_replay(documents)
    count = round(settings.share * len(own))
    if not count:
        raise SettingError(
            "replay.share",
            f"is {settings.share:g}, which of {len(own):,} records is no document; raise it, or leave replay out",
        )
    return as_replayed(draw(texts, count, seed=seed, names=names), tokenizer, context_length)


def as_replayed(documents: Sequence[Document], tokenizer: Tokenizer, context_length: int) -> Replayed:
    """Documents that were drawn, as trees."""
    return Replayed(trees=tuple(document_trees(documents, tokenizer, context_length)), documents=len(documents))


def given_replay(documents: Iterable[Document]) -> list[Document]:
    """Documents that were handed over to be replayed.

    Raises:
        UsageError: what is given holds no documents.
        SettingError: there is none.
    """
    texts = given_records(documents, "documents", Document)
    if not texts:
        raise SettingError("replay", "asks for documents, and none was given; name sources that hold some")
    return texts
