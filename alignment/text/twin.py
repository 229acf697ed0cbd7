"""A tokenizer's twin for transformers: the files beside the model file from which `AutoTokenizer` gives the same ids.

A `tokenizer.json` where its rules can say what the model file says.  They cannot say how SentencePiece breaks ties
(pieces of one score: the leftmost first), nor a unigram model's or a normaliser's cuts; then `tokenizer_config.json`
names transformers' class that has SentencePiece itself cut the text (it puts no <s> before it; the chat template does).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.store.atomic import write_bytes
from alignment.text.agreement import first_difference
from alignment.text.chat import CHAT_TEMPLATE
from alignment.text.codec import BOS, EOS, UNK
from alignment.text.json_codec import JSON_FILE

if TYPE_CHECKING:
    from alignment.text.tokenizer import Tokenizer

_BPE = 2  # SentencePiece's number of the model type


def write_twin(tokenizer: Tokenizer, folder: Path) -> None:
    """Write transformers' files into a folder that holds the model file."""
    if tokenizer.file_name == JSON_FILE:
        _twin_of(_fast_from(tokenizer.model_bytes), tokenizer).save_pretrained(folder)
        write_bytes(folder / JSON_FILE, tokenizer.model_bytes)  # to the letter: its digest is the tokenizer's identity
        return
    twin = to_transformers(tokenizer) if _can_be_said(_proto(tokenizer)) else None
    if twin is None or first_difference(tokenizer, twin.backend_tokenizer) is not None:
        twin = _sentencepiece_twin(tokenizer, folder)
    twin.save_pretrained(folder)


def to_transformers(tokenizer: Tokenizer) -> Any:
    """A SentencePiece BPE for transformers; encodes exactly as SentencePiece does where no two pieces have one score.

    The one difference is on purpose: transformers reads the texts "<s>" and "</s>" inside its input as
    special tokens (the chat template needs that); the data guard keeps such texts out of messages.
    """
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as FastTokenizer

    proto = _proto(tokenizer)
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
    names = dict.fromkeys((UNK, BOS, EOS, tokenizer.piece(tokenizer.pad_id)))
    specials = [AddedToken(name, normalized=False, special=True) for name in names]
    fast.add_special_tokens(specials)
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.bos_id)]
    )
    return _twin_of(fast, tokenizer)


def _twin_of(fast: Any, tokenizer: Tokenizer) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=fast, **_options(tokenizer))


def _sentencepiece_twin(tokenizer: Tokenizer, folder: Path) -> Any:
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    return SentencePieceBackend(vocab_file=str(folder / tokenizer.file_name), **_options(tokenizer))


def _options(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNK,
        "pad_token": tokenizer.piece(tokenizer.pad_id),
        "padding_side": "left",  # as LlamaTokenizer: what is generated then follows the prompt
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _fast_from(model_bytes: bytes) -> Any:
    from tokenizers import Tokenizer as FastTokenizer

    return FastTokenizer.from_str(model_bytes.decode())


def _proto(tokenizer: Tokenizer) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(tokenizer.model_bytes)
    return proto


def _can_be_said(proto: Any) -> bool:
    """Whether the rules of `to_transformers` are the model's: BPE over the text as it is."""
    normalizer = proto.normalizer_spec
    rewrites = normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces
    return proto.trainer_spec.model_type == _BPE and not rewrites


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
