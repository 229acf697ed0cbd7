"""A folder's two tokenizer files give the same ids, or the folder is refused with the first differing piece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from alignment.errors import TokenizerError
from alignment.text.agreement import first_difference
from alignment.text.probe import PROBE, probe_texts
from alignment.text.tokenizer import Tokenizer, save_tokenizer
from alignment.text.twin import to_transformers
from tests.real_data import REAL_DATA

DATA = REAL_DATA / "tokenizer"


def _proto(tokenizer: Tokenizer) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(tokenizer.model_bytes)
    return proto


@pytest.fixture(scope="module")
def merged(tokenizer: Tokenizer) -> Tokenizer:
    """The tiny vocabulary with Chinese pieces that tie at score 0, as published merges have them."""
    proto = _proto(tokenizer)
    for text in ("说", "是", "指", "是指", "说是"):
        proto.pieces.add(piece=text, score=0.0, type=1)
    return Tokenizer(proto.SerializeToString())


def _folder(tokenizer: Tokenizer, folder: Path) -> Path:
    """As a merged vocabulary was saved before: both files, made one from the other."""
    to_transformers(tokenizer).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(tokenizer.model_bytes)
    return folder


def test_pieces_that_tie_are_refused_with_what_each_file_gives(merged: Tokenizer, tmp_path: Path) -> None:
    folder = _folder(merged, tmp_path / "f")
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.load(folder)
    said = str(caught.value)
    assert str(folder) in said
    assert f"tokenizer.model has '说是' (id {merged.encode('a说是指')[-2]})" in said
    assert f"tokenizer.json has '说' (id {merged.vocab_size - 5})" in said


def test_the_first_differing_piece_is_named_with_the_text_and_its_place(merged: Tokenizer) -> None:
    found = first_difference(merged, to_transformers(merged).backend_tokenizer)
    assert found is not None
    assert found.ours is not None
    assert found.theirs is not None
    theirs = to_transformers(merged)(found.text, add_special_tokens=False)["input_ids"]
    ours = merged.encode(found.text)
    assert (ours[: found.at], ours[found.at]) == (theirs[: found.at], found.ours[0])
    assert (theirs[found.at], merged.piece(theirs[found.at])) == found.theirs
    assert ours[found.at] != theirs[found.at]


def test_files_that_agree_are_read(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert Tokenizer.load(_folder(tokenizer, tmp_path / "f")).sha256 == tokenizer.sha256


@pytest.mark.parametrize("change", ["merges", "normalizer", "ids"])
def test_an_altered_tokenizer_json_is_refused(change: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = _folder(tokenizer, tmp_path / "f")
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_text())
    vocab = whole["model"]["vocab"]
    if change == "merges":
        whole["model"]["merges"] = whole["model"]["merges"][::-1]
    elif change == "normalizer":
        whole["normalizer"]["normalizers"].insert(0, {"type": "NFKC"})
    else:
        vocab["a"], vocab["e"] = vocab["e"], vocab["a"]
    file.write_text(json.dumps(whole))
    with pytest.raises(TokenizerError, match="holds two tokenizers that give other ids"):
        Tokenizer.load(folder)


def test_a_damaged_tokenizer_json_beside_the_model_file_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = _folder(tokenizer, tmp_path / "f")
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:500])
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is no tokenizer"):
        Tokenizer.load(folder)


def test_what_no_tokenizer_json_can_say_is_saved_for_transformers_sentencepiece(
    merged: Tokenizer, tmp_path: Path
) -> None:
    save_tokenizer(merged, tmp_path / "f")
    assert not (tmp_path / "f" / "tokenizer.json").exists()
    (tmp_path / "f" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "f")
    for text in [*probe_texts(merged.vocab_size, merged.piece), "他说是指南"]:
        assert theirs(text, add_special_tokens=False)["input_ids"] == merged.encode(text), text
    assert theirs(["他", "他说是指南"], padding=True)["attention_mask"][0][0] == 0
    chat = theirs.apply_chat_template([{"role": "user", "content": "说是指"}], tokenize=True, return_dict=False)
    assert chat == merged.encode("[INST] 说是指 [/INST]", bos=True)


def test_the_probe_holds_pieces_from_beyond_the_base_vocabulary() -> None:
    texts = probe_texts(32_040, lambda i: f"x{i}y")
    assert list(PROBE) == texts[: len(PROBE)]
    assert sum("x32" in text for text in texts) >= 40
    assert 200 < len(texts) < 600


def test_overlapping_pieces_are_laid_together() -> None:
    pieces = ["说是", "是指"]
    assert "说是指" in probe_texts(32_002, lambda i: pieces[i - 32_000] if i >= 32_000 else "a")


@pytest.fixture(params=["llama2.model", "chinese_llama2_merged.model"])
def real(request: pytest.FixtureRequest) -> Tokenizer:
    if not (DATA / request.param).exists():
        pytest.skip(f"ALIGNMENT_DATA names no folder with tokenizer/{request.param}")
    return Tokenizer.load(DATA / request.param)


@pytest.mark.slow
def test_a_published_merge_is_refused_and_llamas_own_files_are_not(real: Tokenizer, tmp_path: Path) -> None:
    folder = _folder(real, tmp_path / "f")
    if real.vocab_size == 32_000:
        assert Tokenizer.load(folder).sha256 == real.sha256
        return
    with pytest.raises(TokenizerError, match=r"tokenizer\.model has '当然' \(id 32242\), tokenizer\.json has '当' "):
        Tokenizer.load(folder)
