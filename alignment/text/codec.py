"""What a tokenizer is made of: one of two readers of pieces, SentencePiece's or that of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"


class Codec(Protocol):
    """Texts to ids and back; no text becomes the id of a special token.

    Attributes:
        special_ids: of <unk>, <s> and </s>.
        pad_id: the piece that fills rows up: its own one where the vocabulary has it, otherwise <unk>, which no text
            that is written in byte pieces ever needs (</s> would hide the end that a reward is read at).
    """

    special_ids: tuple[int, int, int]
    pad_id: int

    def size(self) -> int:
        """All pieces, special and byte pieces included."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, nothing added."""

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""

    def piece(self, token_id: int) -> str:
        """How the vocabulary writes an id."""

    def is_byte(self, token_id: int) -> bool:
        """Whether an id is one of the 256 byte pieces."""

    def normalise(self, text: str) -> str:
        """The text that is cut into pieces; spaces may be written "▁"."""
