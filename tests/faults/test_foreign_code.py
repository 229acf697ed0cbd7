"""S3: a model's folder may bring Python files and templates; none of them is run, and no recipe can ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.errors import CheckpointError, RecipeError
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.records import Dialogue
from alignment.text.chat import render_prompt
from recipes.load import load_recipe
from reward.model import RewardModel
from tests.faults.payloads import add_code


def test_code_beside_the_weights_is_not_run(policy: Policy, tmp_path: Path) -> None:
    folder, canary = tmp_path / "checkpoint", tmp_path / "canary"
    save_policy(policy, folder)
    (folder / "manifest.json").unlink()
    add_code(folder, canary)
    loaded = load_policy(folder)
    assert type(loaded.model).__module__.startswith("alignment.")
    assert not canary.exists()


def test_code_beside_a_reward_model_is_not_run(policy: Policy, tmp_path: Path) -> None:
    folder, canary = tmp_path / "reward", tmp_path / "canary"
    RewardModel.from_policy(policy, seed=0, name="helpfulness").save(folder, meta={})
    (folder / "manifest.json").unlink()
    add_code(folder, canary)
    RewardModel.load(folder)
    assert not canary.exists()


def test_code_beside_a_tokenizer_json_is_not_run_though_standard_input_says_yes(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers is asked how it reads the tokenizer there, never to run what its folder brings."""
    folder, canary = tmp_path / "checkpoint", tmp_path / "canary"
    save_policy(policy, folder)
    (folder / "manifest.json").unlink()
    (folder / "tokenizer.model").unlink()
    add_code(folder, canary)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert load_policy(folder).tokenizer.encode("bread") == policy.tokenizer.encode("bread")
    assert not canary.exists()


def test_a_foreign_chat_template_is_never_used(policy: Policy, dialogues: list[Dialogue], tmp_path: Path) -> None:
    folder, canary = tmp_path / "checkpoint", tmp_path / "canary"
    save_policy(policy, folder)
    (folder / "manifest.json").unlink()
    add_code(folder, canary)
    loaded = load_policy(folder)
    prompt = dialogues[0].prompt()
    assert render_prompt(prompt, loaded.tokenizer) == render_prompt(prompt, policy.tokenizer)
    assert not canary.exists()


@pytest.mark.parametrize("change", [{"model_type": "evil"}, {"model_type": "evil", "architectures": ["Evil"]}, {}])
def test_code_of_an_unknown_architecture_is_not_run_though_standard_input_says_yes(
    change: dict[str, object], policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, canary = tmp_path / "checkpoint", tmp_path / "canary"
    save_policy(policy, folder)
    (folder / "manifest.json").unlink()
    add_code(folder, canary)
    config = json.loads((folder / "config.json").read_text()) | change
    if not change:
        del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_policy(folder)
    assert not canary.exists()


@pytest.mark.parametrize("key", ["model.trust_remote_code", "tokenizer.trust_remote_code", "trust_remote_code"])
def test_no_recipe_can_ask_for_foreign_code(key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quickstart", [f"{key}=true"])
    assert "trust_remote_code" in str(caught.value.problems)
