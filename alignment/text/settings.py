"""Settings of the tokenizer.  No torch."""

from __future__ import annotations

from pydantic import model_validator

from alignment.settings import Settings, setting


class TokenizerSettings(Settings):
    """Train a SentencePiece BPE model as LLaMA's was, or load an existing one."""

    path: str | None = setting(None, "an existing SentencePiece .model file; nothing is trained then", file=True)
    vocab_size: int = setting(32_000, "pieces, the 3 special and 256 byte pieces included", ge=300, le=1_000_000)
    character_coverage: float = setting(
        0.99995, "share of characters that get a piece; the rest become bytes", gt=0.9, le=1.0
    )
    max_characters: int = setting(20_000_000, "most characters of the documents to train on", ge=1_000)

    @model_validator(mode="after")
    def _path_is_model(self) -> TokenizerSettings:
        if self.path is not None and not self.path.endswith(".model"):
            raise ValueError(f"path is {self.path!r}; a SentencePiece model file ends in .model")
        return self
