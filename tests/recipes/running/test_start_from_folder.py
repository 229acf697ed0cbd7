"""A run that starts from somebody's folder: an adapter beside its base model, whose tokenizer is a tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.train.session import Progress, Silent
from recipes.load import load_recipe
from recipes.running.runner import run
from recipes.running.telling import Quiet

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")


class Notes(Quiet):
    """Keeps what stages note."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage_begins(self, name: str, position: int, total: int, *, resumed: bool) -> Progress:
        progress = Silent()
        progress.note = lambda text: self.told.append(f"{name}: {text}")  # type: ignore[method-assign]
        return progress


@pytest.fixture
def adapter(policy: Policy, tmp_path: Path) -> Path:
    """An adapter on a base model that transformers saved."""
    save_policy(policy, tmp_path / "ours")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    model.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    named = {**json.loads(file.read_text()), "base_model_name_or_path": str(tmp_path / "base")}
    file.write_text(json.dumps(named))
    return tmp_path / "adapter"


def test_sft_starts_from_a_merged_adapter_and_says_so(adapter: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"who sells bread {i}?", "output": "the baker."} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "from-adapter",
        "compute": {"threads": 1, "precision": "fp32"},
        "model": {"path": str(adapter)},
        "sft": {
            "data": {"train": [{"path": str(tmp_path / "rows.jsonl")}], "held_out_fraction": 0.1},
            "context_length": 128,
            "max_steps": 1,
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    display = Notes()
    run(load_recipe(str(tmp_path / "recipe.yaml")), out=tmp_path / "run", until="sft", display=display)
    said = [note for note in display.told if "adapter" in note]
    assert said == [f"sft: {adapter} is an adapter (LORA of rank 2): merged into its base model, {tmp_path / 'base'}"]
    (checkpoint,) = (tmp_path / "run").glob("*-sft/checkpoint")
    assert load_policy(checkpoint).tokenizer.sha256 == load_policy(adapter).tokenizer.sha256
    assert AutoTokenizer.from_pretrained(checkpoint)("bread")["input_ids"][0] == 1
