"""The tokenizer has LLaMA's settings, loses no text, and its twin for transformers encodes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alignment.errors import TokenizerError
from alignment.store.manifest import verify
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import Tokenizer, save_tokenizer, train_tokenizer
from alignment.text.twin import to_transformers
from tests.real_data import REAL_DATA

REAL = REAL_DATA / "tokenizer" / "llama2.model"


ODD = ["the", "baker", " sells", "bread", "[INST]", "  ", "👩‍👩‍👧", "ﬁ", "日本", "\r\n", "e\u0301", "1987", "�"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Any text, with what breaks tokenizers often: runs of one character, of white space, emoji, digits, words."""
    piece = st.one_of(
        st.text(max_size=8),
        st.builds(lambda c, n: c * n, st.sampled_from([*" \n\t\u00a0aelstx=-_01.▁é🦙👩\u200d\0"]), st.integers(1, 20)),
        st.sampled_from(ODD),
    )
    return "".join(draw(st.lists(piece, max_size=8)))


def _proto(tokenizer: Tokenizer) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizer.model_bytes)
    return proto


# recovered from the published model file of both generations
TRAINER = {
    "model_type": 2,  # BPE
    "split_digits": True,
    "byte_fallback": True,
    "allow_whitespace_only_pieces": True,
    "split_by_unicode_script": True,
    "split_by_whitespace": True,
    "split_by_number": True,
    "treat_whitespace_as_suffix": False,
    "max_sentencepiece_length": 16,
    "max_sentence_length": 4192,
    "hard_vocab_limit": True,
    "self_test_sample_size": 0,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "unk_surface": " \u2047 ",
}
NORMALIZER = {"name": "identity", "add_dummy_prefix": True, "remove_extra_whitespaces": False}


def test_a_trained_model_states_llamas_settings(tokenizer: Tokenizer) -> None:
    proto = _proto(tokenizer)
    assert {name: getattr(proto.trainer_spec, name) for name in TRAINER} == TRAINER
    assert {name: getattr(proto.normalizer_spec, name) for name in NORMALIZER} == NORMALIZER
    assert (proto.trainer_spec.vocab_size, len(proto.pieces)) == (400, 400)
    assert TokenizerSettings().character_coverage == 0.99995
    assert TokenizerSettings().vocab_size == 32_000


def test_the_pieces_lie_as_llamas_do(tokenizer: Tokenizer) -> None:
    assert [tokenizer.piece(i) for i in range(3)] == ["<unk>", "<s>", "</s>"]
    assert [tokenizer.piece(i) for i in range(3, 259)] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert [tokenizer.is_byte(i) for i in (2, 3, 258, 259)] == [False, True, True, False]


def test_every_digit_is_its_own_piece(tokenizer: Tokenizer) -> None:
    assert [tokenizer.piece(i) for i in tokenizer.encode("1987")] == ["▁", "1", "9", "8", "7"]


def test_training_twice_gives_the_same_file() -> None:
    sentences = ["the baker sells bread to the miller"] * 3
    small = TokenizerSettings(vocab_size=300)
    assert train_tokenizer(sentences, small).model_bytes == train_tokenizer(iter(sentences), small).model_bytes


def test_a_line_that_sentencepiece_would_skip_for_its_length_is_learnt_from() -> None:
    long_line = "the quick brown fox jumps over a lazy dog while bakers sell bread for zyx " * 200
    assert len(long_line.encode()) > 4192  # LLaMA's max_sentence_length
    tokenizer = train_tokenizer([long_line], TokenizerSettings(vocab_size=300))
    assert len(tokenizer.encode(long_line)) < 0.8 * len(long_line)


@settings(max_examples=300)
@given(text=texts())
def test_any_text_comes_back_as_it_went_in(tokenizer: Tokenizer, text: str) -> None:
    # U+2581 is SentencePiece's own sign for a space: the one character that comes back as another
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


def test_the_meta_space_comes_back_as_a_space(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a▁b")) == "a b"


@given(batch=st.lists(texts(), max_size=4))
def test_many_texts_encode_as_one_by_one(tokenizer: Tokenizer, batch: list[str]) -> None:
    assert tokenizer.encode_all(batch) == [tokenizer.encode(text) for text in batch]


def test_bos_and_eos_come_on_request(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("bread")
    assert tokenizer.encode("bread", bos=True, eos=True) == [1, *ids, 2]
    assert tokenizer.decode([1, *ids, 2]) == "bread"


@pytest.fixture(scope="module")
def twin(tokenizer: Tokenizer) -> Any:
    return to_transformers(tokenizer)


def _plain(text: str) -> str:
    """Without the texts that transformers reads as special tokens, on purpose."""
    for special in ("<s>", "</s>", "<unk>"):
        text = text.replace(special, "")
    return text


@pytest.mark.slow
@settings(max_examples=400)
@given(text=texts().map(_plain))
@example("aaaaaaa")
@example(" " * 40 + "x" + "\n" * 9)
@example("the the  the   the\tthe")
@example("🦙🦙👩‍👩‍👧")
def test_the_twin_for_transformers_encodes_exactly_as_sentencepiece(tokenizer: Tokenizer, twin: Any, text: str) -> None:
    ids = tokenizer.encode(text)
    assert twin(text, add_special_tokens=False)["input_ids"] == ids
    assert twin(text)["input_ids"] == [1, *ids]


@given(text=texts().map(_plain))
def test_the_twin_decodes_as_sentencepiece(tokenizer: Tokenizer, twin: Any, text: str) -> None:
    ids = tokenizer.encode(text)
    assert twin.decode(ids) == tokenizer.decode(ids)


@pytest.fixture(scope="module")
def real() -> tuple[Tokenizer, Any]:
    if not REAL.exists():
        pytest.skip("ALIGNMENT_DATA names no folder with tokenizer/llama2.model")
    tokenizer = Tokenizer.load(REAL)
    return tokenizer, to_transformers(tokenizer)


@settings(max_examples=400)
@given(text=texts().map(_plain))
@example("aaaaaaaaaaaaa lllllllllll sssssss")
@example("----==== ====---- ________")
@example("    def f(x):\n        return x  ")
def test_the_twin_of_llamas_own_model_encodes_exactly_as_sentencepiece(real: tuple[Tokenizer, Any], text: str) -> None:
    tokenizer, twin = real
    assert twin(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


def test_llamas_own_model_states_the_settings_that_ours_are_trained_with(real: tuple[Tokenizer, Any]) -> None:
    proto = _proto(real[0])
    assert {name: getattr(proto.trainer_spec, name) for name in TRAINER} == TRAINER
    assert {name: getattr(proto.normalizer_spec, name) for name in NORMALIZER} == NORMALIZER
    assert proto.trainer_spec.character_coverage == pytest.approx(0.99995)
    assert real[0].vocab_size == 32_000


def test_a_saved_tokenizer_is_loaded_with_its_identity(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "t")
    manifest = verify(tmp_path / "t", kind="tokenizer", expect={"tokenizer": tokenizer.sha256})
    assert "tokenizer.json" in manifest.files
    assert Tokenizer.load(tmp_path / "t").model_bytes == tokenizer.model_bytes
    assert Tokenizer.load(tmp_path / "t" / "tokenizer.model").sha256 == tokenizer.sha256


def test_a_vocabulary_of_another_size_is_refused(tokenizer: Tokenizer) -> None:
    tokenizer.require_fit(400, "p")
    with pytest.raises(TokenizerError, match=r"p has a vocabulary of 401, the tokenizer \(SHA-256 \w{12}…\) has 400"):
        tokenizer.require_fit(401, "p")


@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_a_file_of_rubbish_is_refused_with_a_sentence(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("rubbish") / "x.model"
    file.write_bytes(data)
    with pytest.raises(TokenizerError, match=r"x\.model"):
        Tokenizer.load(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer.load(tmp_path / "none.model")


@pytest.mark.parametrize("sentences", [[], [""], ["ab"]])
def test_too_little_text_is_refused(sentences: list[str]) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer of 5000 pieces can be trained"):
        train_tokenizer(sentences, TokenizerSettings(vocab_size=5000))


def test_other_special_ids_than_llamas_are_refused(tmp_path: Path) -> None:
    import io

    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ab ab abc"]), model_writer=model, vocab_size=12, pad_id=0, unk_id=1, bos_id=2,
        eos_id=3, model_type="bpe", minloglevel=2,
    )  # fmt: skip
    with pytest.raises(TokenizerError, match="has unk/bos/eos ids 1/2/3; LLaMA's are 0/1/2"):
        Tokenizer(model.getvalue())
