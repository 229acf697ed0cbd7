"""Adapters in a recipe: where they may stand, what is wrong with one is told with its key, and what they rest on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alignment.errors import MissingExtra, RecipeError
from alignment.policy.settings import AdapterSettings
from recipes.adapters import adapters_of
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.check import check
from recipes.running.digests import Digests
from recipes.running.fingerprint import basis_of, plan_fingerprint
from recipes.running.runner import run
from rl.settings import PpoAdapterSettings
from tests.tiny_recipe import TINY

LAYERS = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
SECTIONS = ("sft", "reward.helpfulness", "reward.safety", "reward.watch", "rlhf.rejection", "gatt")


def said(*overrides: str) -> str:
    with pytest.raises(RecipeError) as refused:
        load_recipe("quickstart", overrides)
    return str(refused.value)


def test_the_defaults_are_alpaca_loras() -> None:
    adapter = AdapterSettings()
    assert (adapter.rank, adapter.alpha, adapter.dropout, adapter.targets) == (8, 16, 0.05, ("q_proj", "v_proj"))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_that_fine_tunes_takes_one(section: str) -> None:
    recipe = load_recipe("quickstart", [f"{section}.adapter={{rank: 4}}"])
    assert adapters_of(recipe) == {tuple(section.split(".")): AdapterSettings(rank=4)}


def test_ppos_has_no_dropout() -> None:
    recipe = load_recipe("quickstart", ["rlhf.ppo.adapter={rank: 4}"])
    assert adapters_of(recipe) == {("rlhf", "ppo"): PpoAdapterSettings(rank=4, dropout=0.0)}
    assert "rlhf.ppo.adapter.dropout: must be 0 for PPO" in said("rlhf.ppo.adapter={dropout: 0.1}")


def test_ppos_base_samples_and_is_not_in_four_bits() -> None:
    assert "base_precision: is 'nf4'; it must be 'fp32'" in said("rlhf.ppo.adapter={base_precision: nf4}")


def test_pretraining_takes_none() -> None:
    assert "pretrain.adapter: unknown key" in said("pretrain.adapter={}")


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("rank=0", "rank: is 0; it must be at least 1"),
        ("alpha=0", "alpha: is 0; it must be at least 1"),
        ("dropout=1.0", "dropout: is 1.0; it must be less than 1.0"),
        ("kind=llama-adapter", "kind: is 'llama-adapter'; it must be 'lora'"),
        ("base_precision=int3", "base_precision: is 'int3'; it must be 'fp32' or 'nf4'"),
        ("rnk=8", "rnk: unknown key; did you mean 'rank'?"),
        ("targets=[]", f"targets: names no layer; {LAYERS} are a Llama's, or say all-linear"),
        ("targets=[q_proj, q_proj]", "targets: names a layer twice; each is adapted once"),
        ("targets=[q_proj, wq]", f"targets.1: is 'wq', no linear layer of the model; right is {LAYERS}"),
        ("targets=[lm_head]", f"targets.0: is 'lm_head', no linear layer of the model; right is {LAYERS}"),
    ],
)
def test_what_is_wrong_with_one_is_told_with_its_key(setting: str, why: str) -> None:
    assert said("sft.adapter={}", f"sft.adapter.{setting}") == f"override 'sft.adapter.{setting}': sft.adapter.{why}"


def test_the_layers_of_a_checkpoint_are_its_own(tmp_path: Path) -> None:
    brought = ("pretrain=null", "tokenizer={}", f"model={{path: {tmp_path}}}", "sft.replay=null")
    recipe = load_recipe("quickstart", [*brought, *_no_replay(), "sft.adapter={targets: [query_key_value]}"])
    assert recipe.sft is not None


def _no_replay() -> tuple[str, ...]:
    return ("rlhf.rejection.replay=null", "rlhf.ppo.replay=null", "gatt.replay=null")


def test_without_peft_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    recipe = load_recipe("quickstart", [*TINY, "gatt.adapter={}"])
    with pytest.raises(MissingExtra, match=r"peft is not installed; it comes with the extra 'peft'"):
        run(recipe, out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("*-tokenizer"))


def test_without_peft_what_needs_no_adapter_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    recipe = load_recipe("quickstart", [*TINY, "gatt.adapter={}"])
    assert run(recipe, out=tmp_path / "run", until="tokenizer").worked


def test_without_bitsandbytes_four_bits_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    recipe = load_recipe("quickstart", [*TINY, "sft.adapter={base_precision: nf4}"])
    with pytest.raises(MissingExtra, match=r"bitsandbytes is not installed; it comes with the extra 'qlora'"):
        run(recipe, out=tmp_path / "run")


def test_a_check_tells_the_missing_package(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    found = check(load_recipe(recipe_file, ["sft.adapter={}"]), tmp_path)
    assert [problem for problem in found.problems if problem.startswith("adapter: peft is not installed; it comes")]


def test_runs_from_before_adapters_stand() -> None:
    plain = load_recipe("quickstart")
    sft = next(stage for stage in stages_of(plain) if stage.name == "sft")
    settings = basis_of(plain, sft, {"tokenizer": "", "pretrain": ""}, Digests())["settings"]
    assert not [key for key in settings if "adapter" in key]
    assert plan_fingerprint(load_recipe("quickstart", ["sft.adapter=null"])) == plan_fingerprint(plain)


def test_another_adapter_is_another_result() -> None:
    said = ["null", "{}", "{rank: 16}", "{alpha: 8}", "{dropout: 0}", "{targets: all-linear}", "{base_precision: nf4}"]
    marks = {plan_fingerprint(load_recipe("quickstart", [f"sft.adapter={each}"])) for each in said}
    assert len(marks) == len(said)
