"""Pieces read by SentencePiece from a `.model` file."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.errors import TokenizerError


class SentencePieceCodec:
    """A SentencePiece model; it never reads a control piece (<s>, </s>) in a text."""

    def __init__(self, model_bytes: bytes, origin: str) -> None:
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

        try:
            self._sp = SentencePieceProcessor(model_proto=model_bytes)
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"{origin} is not a SentencePiece model ({error}); a .model file is needed") from None
        proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        proto.ParseFromString(model_bytes)
        self._rewrites = bool(proto.normalizer_spec.precompiled_charsmap)
        self.special_ids = (int(self._sp.unk_id()), int(self._sp.bos_id()), int(self._sp.eos_id()))
        self.pad_id = int(self._sp.pad_id()) if self._sp.pad_id() >= 0 else self.special_ids[0]

    def size(self) -> int:
        return int(self._sp.get_piece_size())

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._sp.encode(text)
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        encoded: list[list[int]] = self._sp.encode(list(texts))
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._sp.decode(list(ids)))

    def piece(self, token_id: int) -> str:
        return str(self._sp.id_to_piece(token_id))

    def is_byte(self, token_id: int) -> bool:
        return bool(self._sp.is_byte(token_id))

    def normalise(self, text: str) -> str:
        """The text itself where the model's rule is the identity."""
        return str(self._sp.normalize(text)) if self._rewrites else text
