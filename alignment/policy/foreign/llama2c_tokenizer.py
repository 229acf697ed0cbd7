"""llama2.c's tokenizer file (pieces with scores) as the SentencePiece model that it was exported from."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from alignment.errors import TokenizerError
from alignment.text.tokenizer import Tokenizer

_NUM_SPECIAL, _NUM_BYTES = 3, 256


def read_llama2c_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a `tok*.bin` file.

    Raises:
        TokenizerError: the file is cut, or its first pieces are not LLaMA's special and byte pieces.
    """
    import sentencepiece.sentencepiece_model_pb2 as pb2

    proto: Any = pb2  # protobuf makes the classes at run time
    try:
        pieces = _pieces(path.read_bytes())
    except (OSError, struct.error, UnicodeDecodeError, IndexError) as error:
        raise TokenizerError(f"{path} cannot be read ({error}); a tokenizer file of llama2.c is needed") from None
    if len(pieces) < _NUM_SPECIAL + _NUM_BYTES:
        raise TokenizerError(f"{path} holds {len(pieces)} pieces; LLaMA's special and byte pieces alone are 259")
    model = proto.ModelProto()
    model.trainer_spec.model_type = proto.TrainerSpec.BPE
    model.trainer_spec.vocab_size = len(pieces)
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id = 0, 1, 2
    model.trainer_spec.pad_id = -1
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    kinds = proto.ModelProto.SentencePiece
    for index, (text, score) in enumerate(pieces):
        piece = model.pieces.add()
        if index < _NUM_SPECIAL:
            piece.piece = ("<unk>", "<s>", "</s>")[index]
            piece.type = kinds.UNKNOWN if index == 0 else kinds.CONTROL
        elif index < _NUM_SPECIAL + _NUM_BYTES:
            piece.piece, piece.type = f"<0x{index - _NUM_SPECIAL:02X}>", kinds.BYTE
        else:
            piece.piece, piece.score, piece.type = text.replace(" ", "▁"), score, kinds.NORMAL
    return Tokenizer(model.SerializeToString(), origin=str(path))


def _pieces(data: bytes) -> list[tuple[str, float]]:
    found, at = [], 4  # the longest piece's length comes first
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        if length < 0 or at + 8 + length > len(data):
            raise IndexError(f"the piece at byte {at} is {length} bytes long")
        found.append((data[at + 8 : at + 8 + length].decode("utf-8"), score))
        at += 8 + length
    return found
