"""Do two files of one folder give the same ids?  One of them trains the model, the other one serves it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from alignment.errors import TokenizerError
from alignment.text.json_codec import JSON_FILE, raw_encoder
from alignment.text.probe import probe_texts


class Pieces(Protocol):
    """What is compared of a tokenizer."""

    file_name: str

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def piece(self, token_id: int) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first piece in which two tokenizers differ.

    Attributes:
        text: the text that was cut, in which `at` ids are the same.
        ours, theirs: id and piece of each (None where the text has ended).
    """

    text: str
    at: int
    ours: tuple[int, str] | None
    theirs: tuple[int, str] | None


def first_difference(tokenizer: Pieces, other: Any) -> Difference | None:
    """The first piece of the probe texts that another tokenizer cuts differently, or None.

    Args:
        other: a tokenizer of the `tokenizers` library.
    """
    texts = probe_texts(tokenizer.vocab_size, tokenizer.piece)
    encoded = other.encode_batch(texts, add_special_tokens=False)
    for text, their in zip(texts, encoded, strict=True):
        ours, theirs = tokenizer.encode(text), list(their.ids)
        if ours == theirs:
            continue
        at = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
        return Difference(
            text=text,
            at=at,
            ours=(ours[at], tokenizer.piece(ours[at])) if at < len(ours) else None,
            theirs=(theirs[at], str(other.id_to_token(theirs[at]))) if at < len(theirs) else None,
        )
    return None


def same_ids(one: Pieces, other: Pieces) -> bool:
    """Whether two tokenizers have as many pieces and cut the probe texts alike."""
    texts = probe_texts(one.vocab_size, one.piece)
    return one.vocab_size == other.vocab_size and all(one.encode(text) == other.encode(text) for text in texts)


def require_agreement(tokenizer: Pieces, folder: Path) -> None:
    """Refuse a folder whose `tokenizer.json` cuts a text differently than the tokenizer that was read from it.

    The file itself is what counts: other programs than transformers read it too.

    Args:
        tokenizer: of the folder's `tokenizer.model`, or of the `tokenizer.json` where that is all.

    Raises:
        TokenizerError: with the first differing piece, and which file gives what.
    """
    if tokenizer.file_name == JSON_FILE or not (folder / JSON_FILE).exists():
        return
    found = first_difference(tokenizer, raw_encoder(folder / JSON_FILE))
    if found is not None:
        raise TokenizerError(
            f"{folder} holds two tokenizers that give other ids: at piece {found.at + 1} of {_short(found.text)} "
            f"tokenizer.model has {_said(found.ours)}, tokenizer.json has {_said(found.theirs)}; a model trained with "
            f"one would be served with the other, so remove the file that it was not trained with (and a manifest.json)"
        )


def _said(piece: tuple[int, str] | None) -> str:
    return "no piece" if piece is None else f"{piece[1]!r} (id {piece[0]})"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
