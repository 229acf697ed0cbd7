"""The shipped recipe `distil-small`: a larger checkpoint draws, a smaller model is trained on what is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alignment import TokenizerSettings, train_tokenizer
from alignment.policy.policy import Policy, load_policy, save_policy
from recipes.load import load_recipe, shipped_recipes
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.check import check
from recipes.running.fingerprint import plan_fingerprint
from recipes.running.runner import run
from reward.model import RewardModel

TINY = (
    *("world.size=seconds", "world.num_people=12", "world.biographies_per_person=2", "compute.threads=1"),
    *("model.width=16", "model.layers=1", "pretrain.max_steps=1", "sft.max_steps=1"),
    *("rlhf.rejection.prompts_per_version=4", "rlhf.rejection.sweep_prompts=2", "rlhf.rejection.max_steps=1"),
    # of an untrained model's answers every eighth or so ends by itself within 48 tokens
    *("rlhf.rejection.samples_per_prompt=16", "rlhf.rejection.sampling={max_new_tokens: 48}"),
    *("rlhf.rejection.temperatures=[0.9, 1.0]", "evaluate.sampling.max_new_tokens=8"),
    *("evaluate.num_prompts=2", "evaluate.num_safety_prompts=2", "evaluate.num_examples=1"),
)


@pytest.fixture
def quickstart(tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `distil-small` takes of a finished quickstart, untrained: tokenizer, reward models, last version."""
    folder = tmp_path / "quickstart"
    policy.tokenizer.save(folder / "01-tokenizer" / "tokenizer")
    for seed, role in enumerate(("25-reward-helpfulness-v5", "26-reward-safety-v5", "27-reward-watch-v5")):
        RewardModel.from_policy(policy, seed=seed, name=role).save(folder / role / "checkpoint")
    save_policy(policy, folder / "33-rlhf-v5" / "checkpoint")
    monkeypatch.setenv("QUICKSTART", str(folder))
    return folder


def distil(*overrides: str) -> Recipe:
    return load_recipe("distil-small", (*TINY, *overrides))


def test_it_names_the_folders_of_the_shipped_quickstart() -> None:
    text = shipped_recipes()["distil-small"].read_text(encoding="utf-8")
    named = set(re.findall(r"runs/quickstart}/([\w-]+)/", text))
    assert len(named) == 5
    assert named <= {stage.folder for stage in stages_of(load_recipe("quickstart"))}


def test_it_reads_the_quickstarts_town() -> None:
    assert load_recipe("distil-small").world == load_recipe("quickstart").world


def test_it_runs_from_the_larger_models_answers_to_a_smaller_model(quickstart: Path, tmp_path: Path) -> None:
    summary = run(distil(), out=tmp_path / "run")
    names = [stage.name for stage in summary.stages]
    assert names == ["tokenizer", "pretrain", "sft", "rlhf-v1", "evaluate", "report"]
    folder = tmp_path / "run" / "04-rlhf-v1"
    assert load_policy(folder / "checkpoint").model.config.hidden_size == 16
    result = json.loads((folder / "stage.json").read_text())["result"]
    assert result["sweep"]["chosen"] in (0.9, 1.0)
    kept = [json.loads(line)["prompt_id"] for line in (folder / "kept.jsonl").read_text().splitlines()]
    assert max(kept.count(name) for name in kept) <= 2  # top_n


def test_another_larger_model_is_another_run(quickstart: Path, policy: Policy) -> None:
    before = plan_fingerprint(distil())
    save_policy(Policy.fresh("tiny", policy.tokenizer, seed=1), quickstart / "33-rlhf-v5" / "checkpoint")
    assert plan_fingerprint(distil()) != before


def test_check_passes_where_the_quickstart_is_and_tells_every_folder_that_is_not(
    quickstart: Path, tmp_path: Path
) -> None:
    assert check(distil(), tmp_path / "checked").problems == []
    gone = f"rlhf.rejection.samples_from.path={quickstart}/34-other/checkpoint"
    (problem,) = check(distil(gone), tmp_path / "checked").problems
    assert "rlhf.rejection.samples_from.path: there is no file" in problem


def test_a_larger_model_with_another_tokenizer_is_refused_before_anything_runs(
    quickstart: Path, tmp_path: Path
) -> None:
    other = train_tokenizer(["the mill grinds flour"] * 9, TokenizerSettings(vocab_size=300))
    save_policy(Policy.fresh("tiny", other), quickstart / "33-rlhf-v5" / "checkpoint")
    found = check(distil(), tmp_path / "checked").problems
    assert any("rlhf.rejection.samples_from.path" in problem and "300 pieces" in problem for problem in found)
