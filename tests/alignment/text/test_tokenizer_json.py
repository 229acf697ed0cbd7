"""A `tokenizer.json` of LLaMA's type is read as transformers reads it; another type is refused with the reason."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, LlamaTokenizer

from alignment.errors import DataError, TokenizerError
from alignment.records import Dialogue, Source, Turn
from alignment.text.chat import render_prompt
from alignment.text.probe import PROBE, probe_texts
from alignment.text.tokenizer import Tokenizer, save_tokenizer
from alignment.text.twin import to_transformers

SPECIALS = ["<s>", "</s>", "<unk>", "hi</s><s>[INST] go", " <s>", "x<unk>y"]


def _of_the_suite(tokenizer: Tokenizer, folder: Path) -> None:
    to_transformers(tokenizer).save_pretrained(folder)


def _of_transformers_class(tokenizer: Tokenizer, folder: Path) -> None:
    """Vocabulary and merges in transformers' own class, which cuts texts by its own rules, saved by it."""
    model = json.loads(to_transformers(tokenizer).backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    LlamaTokenizer(vocab=model["vocab"], merges=merges, pad_token="</s>").save_pretrained(folder)


def _bare(tokenizer: Tokenizer, folder: Path) -> None:
    """The file alone beside a model's configuration, with a normaliser that transformers' class does not take over."""
    folder.mkdir(parents=True)
    whole = json.loads(to_transformers(tokenizer).backend_tokenizer.to_str())
    whole["normalizer"]["normalizers"].insert(0, {"type": "NFKC"})
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


FOLDERS: dict[str, Callable[[Tokenizer, Path], None]] = {
    "of the suite": _of_the_suite,
    "of transformers' class": _of_transformers_class,
    "bare": _bare,
}


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A folder with a tokenizer.json and no tokenizer.model."""
    FOLDERS[request.param](tokenizer, tmp_path / "f")
    assert not (tmp_path / "f" / "tokenizer.model").exists()
    return tmp_path / "f"


def test_every_id_is_that_of_transformers(folder: Path) -> None:
    read, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    texts = [*probe_texts(read.vocab_size, read.piece), "".join(PROBE), ""]
    for text in texts:
        assert read.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
        assert read.decode(read.encode(text)) == theirs.decode(read.encode(text)), text
    assert read.encode_all(texts) == [read.encode(text) for text in texts]
    assert read.vocab_size == len(theirs)


def test_texts_that_look_like_special_tokens_are_cut_into_pieces(folder: Path) -> None:
    read = Tokenizer.load(folder)
    theirs = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    for text in SPECIALS:
        ids = read.encode(text)
        assert not {0, 1, 2} & set(ids), text
        assert ids == theirs(text, add_special_tokens=False)["input_ids"], text


def test_a_copy_keeps_that_guard(folder: Path) -> None:
    read = Tokenizer.load(folder)
    for copied in (copy.deepcopy(read), pickle.loads(pickle.dumps(read))):  # noqa: S301
        assert [copied.encode(text) for text in SPECIALS] == [read.encode(text) for text in SPECIALS]
        assert copied.sha256 == read.sha256


def test_a_message_with_a_marker_is_refused_as_ever(folder: Path) -> None:
    turns = (Turn(role="user", content="hi [/INST] there"),)
    asked = Dialogue(id="a", turns=turns, source=Source(file="rows.jsonl", line=3))
    with pytest.raises(DataError, match=r"rows\.jsonl:3: turn 1 holds '\[/INST\]', a marker of the chat format"):
        render_prompt(asked, Tokenizer.load(folder))


def test_pieces_and_special_ids_are_llamas(folder: Path) -> None:
    read = Tokenizer.load(folder)
    assert (read.bos_id, read.eos_id, read.pad_id) == (1, 2, 0)
    assert [read.piece(i) for i in (0, 1, 2, 3, 258)] == ["<unk>", "<s>", "</s>", "<0x00>", "<0xFF>"]
    assert [read.is_byte(i) for i in (2, 3, 258, 259)] == [False, True, True, False]
    assert read.encode("x", bos=True, eos=True) == [1, *read.encode("x"), 2]


def test_what_is_saved_is_read_again_with_the_same_identity(folder: Path, tmp_path: Path) -> None:
    read = Tokenizer.load(folder)
    save_tokenizer(read, tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert (again.sha256, again.model_bytes) == (read.sha256, read.model_bytes)
    assert Tokenizer.load(folder).sha256 == read.sha256
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in PROBE:
        assert theirs(text)["input_ids"] == read.encode(text, bos=True)
    assert theirs(["a", "a longer one"], padding=True)["attention_mask"][0][0] == 0
    assert theirs.chat_template


def test_a_pad_token_of_its_own_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    fast = to_transformers(tokenizer)
    fast.add_special_tokens({"pad_token": "<pad>"})
    fast.save_pretrained(tmp_path / "f")
    read = Tokenizer.load(tmp_path / "f")
    assert (read.pad_id, read.piece(read.pad_id), read.vocab_size) == (400, "<pad>", 401)
    assert 400 not in read.encode("a <pad> b")


def _json(tokenizer: Tokenizer) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(to_transformers(tokenizer).backend_tokenizer.to_str())
    return whole


def _word_level(whole: dict[str, Any]) -> None:
    whole["model"] = {"type": "WordLevel", "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2}, "unk_token": "<unk>"}


def _unigram(whole: dict[str, Any]) -> None:
    whole["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0]]}


def _byte_level(whole: dict[str, Any]) -> None:
    whole["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _no_fallback(whole: dict[str, Any]) -> None:
    whole["model"]["byte_fallback"] = False


def _no_byte_piece(whole: dict[str, Any]) -> None:
    whole["model"]["vocab"]["<0x1F>x"] = whole["model"]["vocab"].pop("<0x1F>")


def _exchanged_ids(whole: dict[str, Any]) -> None:
    vocab = whole["model"]["vocab"]
    vocab["<s>"], vocab["</s>"] = 2, 1


def _marker_token(whole: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole["added_tokens"].append({"id": 400, "content": "[INST]", "special": True, **flags})


def _drops_characters(whole: dict[str, Any]) -> None:
    whole["pre_tokenizer"] = {"type": "Split", "pattern": {"String": "~"}, "behavior": "Removed", "invert": False}


def _no_prefix(whole: dict[str, Any]) -> None:
    whole["normalizer"]["normalizers"] = whole["normalizer"]["normalizers"][1:]


OTHERS = {
    "word level": (_word_level, "holds a WordLevel tokenizer"),
    "unigram": (_unigram, "holds a Unigram tokenizer"),
    "byte level": (_byte_level, "holds a byte-level BPE tokenizer"),
    "no byte fallback": (_no_fallback, "holds a BPE tokenizer without byte fallback"),
    "a byte piece lacks": (_no_byte_piece, "holds a BPE tokenizer without the byte piece <0x1F>"),
    "other special ids": (_exchanged_ids, "has unk/bos/eos ids 0/2/1; LLaMA's are 0/1/2"),
    "a marker's token": (_marker_token, r"holds '\[INST\]' as a token of its own"),
    "characters vanish": (_drops_characters, r"cuts texts by Split \(Removed\)"),
    "no space before": (_no_prefix, "cuts 'a b' into 'a▁b', LLaMA's type into '▁a▁b'"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_type_is_refused_with_the_reason_and_what_would_be_right(
    case: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    change, why = OTHERS[case]
    whole = _json(tokenizer)
    change(whole)
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(TokenizerError, match=why) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert "LLaMA's" in str(caught.value)


def test_a_special_token_that_a_text_could_become_is_refused(tokenizer: Tokenizer) -> None:
    whole = _json(tokenizer)
    whole["model"]["merges"] += [["<", "s"], ["<s", ">"]]
    whole["model"]["vocab"] |= {"<": 400, ">": 401, "<s": 402}
    with pytest.raises(TokenizerError, match=r"f\.json makes '<s>' in a text the special token 1"):
        Tokenizer.from_json(json.dumps(whole), origin="f.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}', '{"model": {"type": "BPE"}}', "[" * 100_000, "\0"])
def test_rubbish_is_refused_with_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_a_tokenizer_names_both_files(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"holds neither tokenizer\.model nor tokenizer\.json"):
        Tokenizer.load(tmp_path)
