"""Pieces read by the `tokenizers` library from a `tokenizer.json` of LLaMA's type."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.errors import TokenizerError
from alignment.store.manifest import NAME as MANIFEST
from alignment.text.chat import MARKERS
from alignment.text.codec import BOS, BYTE_PIECES, EOS, PAD, UNK

JSON_FILE = "tokenizer.json"
_WANTED = (
    "one of LLaMA's type is needed (BPE with byte fallback, spaces written ▁), "
    "or the SentencePiece tokenizer.model that the checkpoint was trained with"
)


class JsonCodec:
    """A BPE with byte fallback, spaces as "▁" and a space put before each text.

    A text that holds "<s>" or another special token is cut into ordinary pieces, as SentencePiece does.
    """

    def __init__(self, text: str, origin: str) -> None:
        _require_llama_type(_parsed(text, origin), origin)
        fast = _read(text, origin)
        fast.encode_special_tokens = True
        vocab: dict[str, int] = fast.get_vocab(with_added_tokens=True)
        self._fast, self._made_of = fast, (text, origin)
        self._bytes = {vocab[piece] for piece in BYTE_PIECES}
        self._size = max(vocab.values()) + 1
        self.special_ids = (vocab.get(UNK, -1), vocab.get(BOS, -1), vocab.get(EOS, -1))
        specials = {token.content: i for i, token in fast.get_added_tokens_decoder().items() if token.special}
        self.pad_id = specials.get(PAD, self.special_ids[0])
        self._require_llama_cuts({**specials, UNK: 0, BOS: 1, EOS: 2}, origin)

    def __reduce__(self) -> tuple[object, ...]:
        return JsonCodec, self._made_of  # the library's own copies read special tokens in texts again

    def size(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(one.ids) for one in self._fast.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._fast.decode(list(ids), skip_special_tokens=True))

    def piece(self, token_id: int) -> str:
        return str(self._fast.id_to_token(token_id) or "")

    def is_byte(self, token_id: int) -> bool:
        return token_id in self._bytes

    def normalise(self, text: str) -> str:
        return text if self._fast.normalizer is None else str(self._fast.normalizer.normalize_str(text))

    def _require_llama_cuts(self, specials: Mapping[str, int], origin: str) -> None:
        pieces = "".join(map(self.piece, self.encode("a b")))
        if pieces != "▁a▁b":
            raise TokenizerError(f"{origin} cuts 'a b' into {pieces!r}, LLaMA's type into '▁a▁b'; {_WANTED}")
        for text, token_id in specials.items():
            if token_id in self.encode(text):
                raise TokenizerError(
                    f"{origin} makes {text!r} in a text the special token {token_id}; what people write must not "
                    f"become one, so {_WANTED}"
                )


def read_tokenizer_json(folder: Path) -> str:
    """A folder's `tokenizer.json` as transformers' AutoTokenizer makes it.

    A folder that this suite wrote is taken to the letter.  In others `tokenizer_config.json` may name a class that
    keeps vocabulary and merges alone and cuts texts by its own rules, so transformers is asked.

    Raises:
        TokenizerError: it cannot be read, or is of another type than LLaMA's.
    """
    file = folder / JSON_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{file} cannot be read ({error}); a tokenizer.json of LLaMA's type is needed") from None
    JsonCodec(text, str(file))
    return text if (folder / MANIFEST).exists() else _as_transformers_reads(folder)


def raw_encoder(file: Path) -> Any:
    """The tokenizer of a `tokenizer.json` as the file itself says, for comparing.

    Raises:
        TokenizerError: it is none.
    """
    try:
        return _read(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{file} cannot be read ({error}); remove it, or put the right one there") from None


def _as_transformers_reads(folder: Path) -> str:
    from tokenizers import processors
    from transformers import AutoTokenizer

    try:
        # said outright: left unsaid, transformers asks on standard input, and a piped `y` would run the folder's code
        fast = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).backend_tokenizer
    except Exception as error:  # whatever a broken folder makes transformers raise
        raise TokenizerError(
            f"transformers cannot read the tokenizer of {folder} ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}); {_WANTED}"
        ) from error
    fast.no_padding()
    fast.no_truncation()
    fast.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 1)]
    )
    return str(fast.to_str())


def _parsed(text: str, origin: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{origin} is no JSON ({type(error).__name__}: {error}); {_WANTED}") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise TokenizerError(f"{origin} describes no tokenizer (there is no 'model' in it); {_WANTED}")
    return parsed


def _read(text: str, origin: str) -> Any:
    from tokenizers import Tokenizer as FastTokenizer

    try:
        return FastTokenizer.from_str(text)
    except Exception as error:  # the library raises Exception itself
        raise TokenizerError(f"{origin} is no tokenizer of the tokenizers library ({error}); {_WANTED}") from None


def _require_llama_type(parsed: Mapping[str, Any], origin: str) -> None:
    model = parsed["model"]
    kind, vocab = model.get("type", "untyped"), model.get("vocab")
    steps = list(_steps(parsed.get("normalizer"))) + list(_steps(parsed.get("pre_tokenizer")))
    why = None
    if kind != "BPE" or not isinstance(vocab, dict):
        why = f"a {kind} tokenizer"
    elif any(step.get("type") == "ByteLevel" for step in steps):
        why = "a byte-level BPE tokenizer (as of GPT-2 and Llama 3)"
    elif not model.get("byte_fallback"):
        why = "a BPE tokenizer without byte fallback"
    elif missing := [piece for piece in BYTE_PIECES if piece not in vocab]:
        why = f"a BPE tokenizer without the byte piece {missing[0]}"
    elif (ids := tuple(vocab.get(name) for name in (UNK, BOS, EOS))) != (0, 1, 2):
        raise TokenizerError(f"{origin} has unk/bos/eos ids {'/'.join(map(str, ids))}; LLaMA's are 0/1/2")
    else:
        for step in _steps(parsed.get("pre_tokenizer")):
            if step.get("type") not in ("Metaspace", "Split") or step.get("behavior") == "Removed":
                why = f"a BPE tokenizer that cuts texts by {step.get('type')} ({step.get('behavior', 'as it is')})"
        for token in parsed.get("added_tokens") or ():
            if token.get("content") in MARKERS and token["content"] not in (UNK, BOS, EOS):
                why = f"{token['content']!r} as a token of its own, which Llama 2's chat format writes in plain pieces"
    if why is not None:
        raise TokenizerError(f"{origin} holds {why}; {_WANTED}")


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """A normaliser's or pre-tokenizer's steps, sequences within sequences laid flat."""
    if not isinstance(part, dict):
        return
    inner = [*(part.get("pretokenizers") or ()), *(part.get("normalizers") or ())]
    if not inner:
        yield part
    for one in inner:
        yield from _steps(one)
