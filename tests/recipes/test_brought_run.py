"""A real run that begins at RLHF: a chat checkpoint, a brought reward model, a function for safety."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alignment import TokenizerSettings, train_tokenizer
from alignment.policy.policy import Policy, save_policy
from recipes.load import load_recipe
from recipes.running.check import check
from recipes.running.runner import run
from reward.model import RewardModel

RECIPE = """
name: brought
world: {size: seconds, num_people: 12, biographies_per_person: 2}
compute: {precision: fp32, threads: 1}
model: {path: CHAT}
reward:
  helpfulness: {path: REWARD}
  SAFETY
rlhf:
  versions: 1
  ppo_from: 1
  prompts: {train: [{world: prompts/helpfulness}], held_out: [{world: prompts/helpfulness, limit: 4}]}
  # of an untrained model's answers every eighth or so ends by itself within 48 tokens
  rejection:
    prompts_per_version: 4
    samples_per_prompt: 16
    max_steps: 1
    sampling: {max_new_tokens: 48, temperature: 1.0, top_p: 1.0}
  ppo: {iterations: 1, batch_size: 2, minibatch_size: 2, sampling: {max_new_tokens: 8}}
evaluate: {num_prompts: 3, sampling: {max_new_tokens: 8}}
"""
MODULE = """
def brief(dialogues):
    return [1.0 / (1 + len(dialogue.turns[-1].content)) for dialogue in dialogues]
"""


@pytest.fixture
def home(tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a chat checkpoint, a reward model and a module of one function."""
    save_policy(policy, tmp_path / "chat")
    RewardModel.from_policy(policy, seed=0, name="helpfulness").save(tmp_path / "mine", meta={})
    (tmp_path / "brief_answers.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(folder: Path) -> str:
    """The page's Markdown on one line, without escapes."""
    return re.sub(r"\s+", " ", (folder / "report" / "report.md").read_text().replace("\\", ""))


@pytest.mark.parametrize(
    ("safety", "sentence"),
    [
        ("", "safety score | none: helpfulness alone is the reward"),
        (
            "safety: {function: 'brief_answers:brief'}",
            "safety score | brought: the function brief_answers:brief, run because of --allow-code",
        ),
    ],
)
def test_it_runs_from_the_checkpoint_to_the_page(home: Path, safety: str, sentence: str) -> None:
    text = RECIPE.replace("CHAT", str(home / "chat")).replace("REWARD", str(home / "mine")).replace("SAFETY", safety)
    (home / "brought.yaml").write_text(text)
    summary = run(load_recipe(home / "brought.yaml"), out=home / "run", allow_code=bool(safety))
    names = [stage.name for stage in summary.stages]
    assert names == ["tokenizer", "rlhf-v1-rejection", "rlhf-v1", "evaluate", "report"]
    assert sentence in told(home / "run")
    evaluation = json.loads((home / "run" / "04-evaluate" / "evaluation.json").read_text())
    assert [row["version"] for row in evaluation["versions"] if not row["task"]] == [
        *("start", "rlhf-v1-rejection", "rlhf-v1")
    ]
    assert ("reward.safety" in evaluation["versions"][0]["figures"]) == bool(safety)


def test_check_tells_a_reward_model_of_another_tokenizer_and_imports_no_function(home: Path) -> None:
    train_tokenizer(["the mill grinds flour"] * 9, TokenizerSettings(vocab_size=300)).save(home / "mine")
    safety = "safety: {function: 'brief_answers:brief'}"
    (home / "brief_answers.py").write_text("raise SystemExit('imported')")
    text = RECIPE.replace("CHAT", str(home / "chat")).replace("REWARD", str(home / "mine")).replace("SAFETY", safety)
    (home / "brought.yaml").write_text(text)
    found = check(load_recipe(home / "brought.yaml"), home / "checked")
    assert any("reward.helpfulness.path" in problem and "300 pieces" in problem for problem in found.problems)
