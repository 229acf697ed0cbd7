"""Stage `tokenizer`: a SentencePiece model with LLaMA's settings (Llama 2 paper, 2.1), trained or taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES, DOCUMENTS
from recipes.stages.kind import DataSet, Makes, Reads, StageInputs, StageKind, Surrounding

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.model.settings import ModelSettings
    from alignment.report.blocks import Section
    from alignment.text.settings import TokenizerSettings
    from recipes.stages.context import StageContext

_SAMPLE = 200  # texts by which characters per token are told


@dataclass(frozen=True, kw_only=True)
class TokenizerInputs(StageInputs):
    """All that the stage reads of the recipe.

    Attributes:
        documents: trained on; None where the tokenizer is taken.
        documents_key: the section that they belong to, where it is not the stage's own.
        chats: dialogues whose texts are trained on too, so that the chat format's markers get pieces.
        checkpoint: the model whose tokenizer is taken where none is trained or named.
    """

    settings: TokenizerSettings
    documents: DataSettings | None
    documents_key: str | None = None
    chats: DataSettings | None = None
    checkpoint: ModelSettings | None = None

    def reads(self) -> Reads:
        """The section, and what of other sections is trained on or taken."""
        found: dict[str, Any] = {"tokenizer": self.settings}
        if self.documents_key is not None:
            found[f"{self.documents_key}.data"] = self.documents
        if self.chats is not None:
            found["sft.data"] = self.chats
        if self.checkpoint is not None:
            found |= {"model.path": self.checkpoint.path, "model.revision": self.checkpoint.revision}
        return found

    def data(self) -> tuple[DataSet[Any], ...]:
        """Documents, then dialogues."""
        found: list[DataSet[Any]] = []
        if self.documents is not None:
            key = self.documents_key or "tokenizer"
            found.append(DataSet(key=key, settings=self.documents, records=DOCUMENTS))
        if self.chats is not None:
            found.append(DataSet(key="sft", settings=self.chats, records=DIALOGUES))
        return tuple(found)


def run(inputs: TokenizerInputs, stage: StageContext) -> dict[str, Any]:
    """Train or load the tokenizer; saves `tokenizer/`."""
    from alignment.text.chat import dialogue_text
    from alignment.text.tokenizer import Tokenizer, save_tokenizer, train_tokenizer

    texts: list[str] = []
    if inputs.settings.path is not None:
        tokenizer, origin = Tokenizer.load(inputs.settings.path), inputs.settings.path
    elif inputs.checkpoint is not None:
        from alignment.policy.policy import load_tokenizer

        origin = str(inputs.checkpoint.path)
        tokenizer = load_tokenizer(origin, revision=inputs.checkpoint.revision)
    else:
        documents, *chats = inputs.data()
        loaded = stage.read(documents, quarantine=stage.session.folder / "quarantine.jsonl")
        # dialogues first, so that the chat format's markers get pieces of their own
        texts = [dialogue_text(dialogue) for data in chats for dialogue in stage.read(data).train]
        texts += [document.text for document in loaded.train]
        tokenizer, origin = train_tokenizer(texts, inputs.settings), "trained"
    save_tokenizer(tokenizer, stage.session.folder / "tokenizer")
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    tokens = [token for ids in tokenizer.encode_all(sample) for token in ids]
    characters = sum(len(text) for text in sample)
    return {
        "origin": origin,
        "vocab_size": tokenizer.vocab_size,
        "sha256": tokenizer.sha256,
        "characters_per_token": characters / len(tokens) if tokens else 0.0,
        "byte_share": sum(tokenizer.is_byte(token) for token in tokens) / len(tokens) if tokens else 0.0,
    }


def section(inputs: TokenizerInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.train.report import tokenizer_section

    return tokenizer_section(result)


TOKENIZER = StageKind(
    name="tokenizer",
    does="Train the SentencePiece tokenizer, or take an existing one",
    run=run,
    section=section,
    shown=("vocab_size",),
    makes=frozenset({Makes.TOKENIZER}),
    surroundings=frozenset({Surrounding.SEED, Surrounding.VERSIONS}),
)
