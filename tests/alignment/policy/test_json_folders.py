"""A checkpoint's folder as transformers writes it today, with a `tokenizer.json` alone, is a policy like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.errors import TokenizerError
from alignment.policy.policy import Policy, load_policy, load_tokenizer, save_policy
from alignment.records import Dialogue
from alignment.text.chat import render_dialogue
from reward.model import RewardModel


@pytest.fixture
def folder(policy: Policy, tmp_path: Path) -> Path:
    """What `save_pretrained` of transformers leaves of model and tokenizer."""
    save_policy(policy, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "tokenizer.model").exists()
    return tmp_path / "theirs"


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(20)[None] * 7).logits


def test_it_is_loaded_and_renders_the_same_tokens(folder: Path, policy: Policy, dialogues: list[Dialogue]) -> None:
    loaded = load_policy(folder)
    assert torch.equal(_logits(loaded.model), _logits(policy.model))
    for dialogue in dialogues:
        assert render_dialogue(dialogue, loaded.tokenizer) == render_dialogue(dialogue, policy.tokenizer)
    assert load_tokenizer(folder).sha256 == loaded.tokenizer.sha256
    assert loaded.notes == ()


def test_what_is_saved_of_it_is_loaded_here_and_by_transformers(folder: Path, tmp_path: Path) -> None:
    loaded = load_policy(folder)
    manifest = save_policy(loaded, tmp_path / "again")
    again = load_policy(tmp_path / "again")
    assert again.tokenizer.sha256 == loaded.tokenizer.sha256 == manifest.meta["tokenizer"]
    assert torch.equal(_logits(again.model), _logits(loaded.model))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "again")
    torch.testing.assert_close(_logits(theirs), _logits(loaded.model))
    text = "who sells  the bread? 🦙 日本\n[INST]"
    assert tokenizer(text)["input_ids"] == again.tokenizer.encode(text, bos=True)


def test_a_reward_model_is_made_from_it_and_read_again(folder: Path, tmp_path: Path) -> None:
    loaded = load_policy(folder)
    RewardModel.from_policy(loaded, seed=0, name="helpfulness").save(tmp_path / "reward", meta={})
    assert RewardModel.load(tmp_path / "reward").tokenizer.sha256 == loaded.tokenizer.sha256


def test_a_vocabulary_of_another_size_than_the_models_is_refused(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    with pytest.raises(TokenizerError, match=r"vocabulary of 400, the tokenizer .* has 401 pieces"):
        load_policy(folder)


def test_a_tokenizer_json_that_was_exchanged_in_a_folder_of_ours_is_refused(folder: Path, tmp_path: Path) -> None:
    save_policy(load_policy(folder), tmp_path / "again")
    file = tmp_path / "again" / "tokenizer.json"
    whole = json.loads(file.read_text())
    whole["model"]["merges"] = whole["model"]["merges"][::-1]
    file.write_text(json.dumps(whole))
    with pytest.raises(TokenizerError, match=r"was saved with the tokenizer .*its tokenizer\.json is now"):
        load_policy(tmp_path / "again")
