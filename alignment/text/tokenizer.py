"""The tokenizer: SentencePiece BPE with LLaMA's settings, and the same one for transformers.

Special ids are LLaMA's: <unk> 0, <s> 1, </s> 2, no padding; 256 byte pieces follow, so any UTF-8
text round-trips (given the identity normalisation and `remove_extra_whitespaces` off).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alignment.errors import TokenizerError
from alignment.records import Dialogue, Document
from alignment.store.atomic import staged_folder, write_bytes
from alignment.store.manifest import write_manifest
from alignment.text.settings import TokenizerSettings

MODEL_FILE = "tokenizer.model"
_MAX_SENTENCE_BYTES = 4192  # LLaMA's setting; SentencePiece skips longer sentences, so texts are cut below it


class Tokenizer:
    """A SentencePiece model.

    Attributes:
        sha256: digest of the model file: the tokenizer's identity.
    """

    def __init__(self, model_bytes: bytes, *, origin: str = "memory") -> None:
        from sentencepiece import SentencePieceProcessor

        self.model_bytes = model_bytes
        self.sha256 = hashlib.sha256(model_bytes).hexdigest()
        try:
            self._sp = SentencePieceProcessor(model_proto=model_bytes)
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"{origin} is not a SentencePiece model ({error}); a .model file is needed") from None
        if (self.bos_id, self.eos_id) != (1, 2) or self._sp.unk_id() != 0:
            raise TokenizerError(
                f"{origin} has unk/bos/eos ids {self._sp.unk_id()}/{self.bos_id}/{self.eos_id}; LLaMA's are 0/1/2"
            )

    @staticmethod
    def load(path: Path | str) -> Tokenizer:
        """Read a `.model` file, or the one in a checkpoint's folder.

        Raises:
            TokenizerError: there is none, or it is no SentencePiece model.
        """
        path = Path(path)
        file = path / MODEL_FILE if path.is_dir() else path
        try:
            data = file.read_bytes()
        except OSError as error:
            raise TokenizerError(
                f"{file} cannot be read ({error.strerror}); a SentencePiece .model file is needed"
            ) from None
        return Tokenizer(data, origin=str(file))

    @property
    def vocab_size(self) -> int:
        """All pieces, special and byte pieces included."""
        return int(self._sp.get_piece_size())

    @property
    def bos_id(self) -> int:
        """<s>."""
        return int(self._sp.bos_id())

    @property
    def eos_id(self) -> int:
        """</s>."""
        return int(self._sp.eos_id())

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Token ids of a text, with BOS before or EOS after on request."""
        ids: list[int] = self._sp.encode(text)
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Token ids of many texts, faster than one by one."""
        encoded: list[list[int]] = self._sp.encode(texts)
        return encoded

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; special tokens vanish."""
        return str(self._sp.decode([int(i) for i in ids]))

    def piece(self, token_id: int) -> str:
        """The piece as the model file writes it ("▁the", "<0x0A>")."""
        return str(self._sp.id_to_piece(int(token_id)))

    def is_byte(self, token_id: int) -> bool:
        """Whether it is one of the 256 byte pieces."""
        return bool(self._sp.is_byte(int(token_id)))

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
        """Write `tokenizer.model` and transformers' files beside it; the folder is made if it is not there."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / MODEL_FILE, self.model_bytes)
        to_transformers(self).save_pretrained(folder)


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


def to_transformers(tokenizer: Tokenizer) -> Any:
    """The same tokenizer for transformers; encodes exactly as SentencePiece does.

    The one difference is on purpose: transformers reads the texts "<s>" and "</s>" inside its input as
    special tokens (the chat template needs that); the data guard keeps such texts out of messages.
    """
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as FastTokenizer
    from transformers import PreTrainedTokenizerFast

    from alignment.text.chat import CHAT_TEMPLATE

    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(tokenizer.model_bytes)
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    fast = FastTokenizer(
        models.BPE(vocab=vocab, merges=_merges(proto), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    prefix = [normalizers.Prepend("▁")] if proto.normalizer_spec.add_dummy_prefix else []
    fast.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "▁")])
    # merges never cross from a non-space to a space: cutting there changes nothing and keeps long texts fast
    fast.pre_tokenizer = pre_tokenizers.Split(Regex("(?<=[^▁])(?=▁)"), behavior="isolated")
    fast.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = [AddedToken(name, normalized=False, special=True) for name in ("<unk>", "<s>", "</s>")]
    fast.add_special_tokens(specials)
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.bos_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _merges(proto: Any) -> list[tuple[str, str]]:
    """Every way to make a piece out of two, best piece first (SentencePiece merges the best piece first)."""
    normal, byte = 1, 6
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type not in (byte,)}
    order = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    ranked = sorted((p for p in proto.pieces if p.type == normal), key=lambda p: (-p.score, order[p.piece]))
    merges = []
    for piece in ranked:
        text = piece.piece
        ways = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in scores and text[i:] in scores]
        merges += sorted(ways, key=lambda way: (order[way[0]], order[way[1]]))
    return merges


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
