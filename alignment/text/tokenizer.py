"""The tokenizer: SentencePiece BPE with LLaMA's settings, trained or read; a `tokenizer.json` of its type is read too.

Special ids are LLaMA's: <unk> 0, <s> 1, </s> 2, no padding; 256 byte pieces follow, so any UTF-8
text round-trips (given the identity normalisation and `remove_extra_whitespaces` off).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from alignment.errors import TokenizerError
from alignment.records import Dialogue, Document
from alignment.store.atomic import staged_folder, write_bytes
from alignment.store.manifest import write_manifest
from alignment.text.agreement import require_agreement
from alignment.text.codec import Codec
from alignment.text.json_codec import JSON_FILE, JsonCodec, read_tokenizer_json
from alignment.text.sentencepiece_codec import SentencePieceCodec
from alignment.text.settings import TokenizerSettings
from alignment.text.twin import write_twin

MODEL_FILE = "tokenizer.model"
_MAX_SENTENCE_BYTES = 4192  # LLaMA's setting; SentencePiece skips longer sentences, so texts are cut below it


class Tokenizer:
    """A vocabulary with its cuts, from a SentencePiece model or a `tokenizer.json` of LLaMA's type.

    Attributes:
        model_bytes: the file that it is read from, `file_name` in a checkpoint's folder.
        sha256: digest of that file: the tokenizer's identity.
    """

    def __init__(self, model_bytes: bytes, *, origin: str = "memory") -> None:
        self._hold(model_bytes, SentencePieceCodec(model_bytes, origin), MODEL_FILE, origin)

    def _hold(self, model_bytes: bytes, codec: Codec, file_name: str, origin: str) -> None:
        self.model_bytes, self.file_name, self._codec = model_bytes, file_name, codec
        self.sha256 = hashlib.sha256(model_bytes).hexdigest()
        if codec.special_ids != (0, 1, 2):
            raise TokenizerError(
                f"{origin} has unk/bos/eos ids {'/'.join(map(str, codec.special_ids))}; LLaMA's are 0/1/2"
            )

    @staticmethod
    def from_json(text: str, *, origin: str = "memory") -> Tokenizer:
        """The tokenizer of a `tokenizer.json`.

        Raises:
            TokenizerError: it is none of LLaMA's type.
        """
        tokenizer = Tokenizer.__new__(Tokenizer)
        tokenizer._hold(text.encode(), JsonCodec(text, origin), JSON_FILE, origin)
        return tokenizer

    @staticmethod
    def load(path: Path | str, *, compare: bool = True) -> Tokenizer:
        """Read a `.model` file, or a checkpoint's folder: its `tokenizer.model`, or `tokenizer.json` where that is all.

        Args:
            compare: whether a folder that holds both files must give the same ids by both.

        Raises:
            TokenizerError: there is none, it is no SentencePiece model or of another type than LLaMA's, or the
                folder holds both files and they give other ids.
        """
        path = Path(path)
        if not path.is_dir():
            return Tokenizer(_read(path), origin=str(path))
        model_file, json_file = path / MODEL_FILE, path / JSON_FILE
        if not model_file.exists():
            if json_file.exists():
                return Tokenizer.from_json(read_tokenizer_json(path), origin=str(json_file))
            raise TokenizerError(
                f"{path} holds neither {MODEL_FILE} nor {JSON_FILE}; the one that the checkpoint was trained with is "
                f"needed"
            )
        tokenizer = Tokenizer(_read(model_file), origin=str(model_file))
        if compare:
            require_agreement(tokenizer, path)
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """All pieces, special and byte pieces included."""
        return self._codec.size()

    @property
    def bos_id(self) -> int:
        """<s>."""
        return self._codec.special_ids[1]

    @property
    def eos_id(self) -> int:
        """</s>."""
        return self._codec.special_ids[2]

    @property
    def pad_id(self) -> int:
        """What fills rows up in other programs (the suite pads nothing)."""
        return self._codec.pad_id

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Token ids of a text, with BOS before or EOS after on request."""
        return [self.bos_id] * bos + self._codec.encode(text) + [self.eos_id] * eos

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Token ids of many texts, faster than one by one."""
        return self._codec.encode_all(texts)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; special tokens vanish."""
        return self._codec.decode([int(i) for i in ids])

    def piece(self, token_id: int) -> str:
        """The piece as the vocabulary writes it ("▁the", "<0x0A>")."""
        return self._codec.piece(int(token_id))

    def is_byte(self, token_id: int) -> bool:
        """Whether it is one of the 256 byte pieces."""
        return self._codec.is_byte(int(token_id))

    def normalise(self, text: str) -> str:
        """The text that is cut into pieces: many models write full-width letters as plain ones first."""
        return self._codec.normalise(text)

    def require_fit(self, vocab_size: int, what: str) -> None:
        """Refuse a checkpoint whose vocabulary is of another size.

        Raises:
            TokenizerError: naming both sizes and the tokenizer's digest.
        """
        if vocab_size != self.vocab_size:
            raise TokenizerError(
                f"{what} has a vocabulary of {vocab_size}, the tokenizer (SHA-256 {self.sha256[:12]}…) has "
                f"{self.vocab_size} pieces; they must be the ones that were trained together"
            )

    def save(self, folder: Path | str) -> None:
        """Write the model file and transformers' files beside it (`alignment.text.twin`); the folder is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / self.file_name, self.model_bytes)
        write_twin(self, folder)


def train_tokenizer(texts: Iterable[str | Document | Dialogue], settings: TokenizerSettings) -> Tokenizer:
    """Train a BPE model with LLaMA's settings (recovered from the published model file).

    Args:
        texts: or documents, or dialogues as the chat format writes them; cut into sentences of at most 4,192 bytes.

    Raises:
        TokenizerError: too little text for so many pieces.
    """
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_sentences(map(_text_of, texts), settings.max_characters),
            model_writer=model,
            model_type="bpe",
            vocab_size=settings.vocab_size,
            character_coverage=settings.character_coverage,
            split_digits=True,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=True,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_by_unicode_script=True,
            split_by_whitespace=True,
            split_by_number=True,
            max_sentencepiece_length=16,
            max_sentence_length=_MAX_SENTENCE_BYTES,
            hard_vocab_limit=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            unk_surface=" \u2047 ",
            num_threads=1,  # the same model on every machine
            minloglevel=2,
        )
    except (RuntimeError, StopIteration) as error:
        raise TokenizerError(
            f"no tokenizer of {settings.vocab_size} pieces can be trained on this text ({error}); "
            f"a smaller vocab_size or more text is needed"
        ) from None
    return Tokenizer(model.getvalue(), origin="the trained model")


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer's folder as a whole, with a manifest."""
    with staged_folder(folder, replace=True) as aside:
        tokenizer.save(aside)
        write_manifest(aside, kind="tokenizer", meta={"tokenizer": tokenizer.sha256})


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TokenizerError(
            f"{file} cannot be read ({error.strerror}); a SentencePiece .model file is needed"
        ) from None


def _text_of(record: str | Document | Dialogue) -> str:
    from alignment.text.chat import dialogue_text

    if isinstance(record, Dialogue):
        return dialogue_text(record)
    return record.text if isinstance(record, Document) else record


def _sentences(texts: Iterable[str], max_characters: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        for line in text.splitlines():
            for piece in _cut(line):
                if taken >= max_characters:
                    return
                taken += len(piece)
                yield piece


def _cut(line: str) -> Iterator[str]:
    """Cut a line at spaces into pieces that SentencePiece does not skip for their length."""
    limit = _MAX_SENTENCE_BYTES // 4  # a character has at most 4 bytes
    while len(line) > limit:
        at = line.rfind(" ", 1, limit)
        at = at if at > 0 else limit
        yield line[:at]
        line = line[at:]
    if line:
        yield line
