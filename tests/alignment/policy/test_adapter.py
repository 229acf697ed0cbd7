"""An adapter's folder is a policy: merged into its base model on loading, which is said."""

from __future__ import annotations

import json
import shutil
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from alignment.errors import CheckpointError, MissingExtra, TokenizerError
from alignment.model.llama import LlamaPolicy
from alignment.policy.policy import Policy, load_policy, load_tokenizer, save_policy
from alignment.text.twin import to_transformers
from recipes.running.digests import files_of
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
IDS = torch.arange(20)[None] * 7


def _adapt(model: torch.nn.Module, folder: Path, **changes: Any) -> torch.Tensor:
    """Write an adapter with random weights; returns the adapted model's logits."""
    wanted = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(deepcopy(model), peft.LoraConfig(task_type="CAUSAL_LM", **{**wanted, **changes}))
    wrapped.save_pretrained(folder, save_embedding_layers=model.config.vocab_size > 400)
    return _logits(wrapped)


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def _name_base(folder: Path, base: object, **more: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": base, **more}))


@pytest.fixture
def adapter(policy: Policy, tmp_path: Path) -> Path:
    """An adapter in `adapter` that names its base model, `base`."""
    save_policy(policy, tmp_path / "base")
    _adapt(policy.model, tmp_path / "adapter")
    _name_base(tmp_path / "adapter", str(tmp_path / "base"))
    return tmp_path / "adapter"


def test_it_is_merged_into_the_base_that_it_names(policy: Policy, adapter: Path, tmp_path: Path) -> None:
    expected = _adapt(policy.model, tmp_path / "again")
    loaded = load_policy(adapter)
    assert type(loaded.model) is LlamaPolicy
    torch.testing.assert_close(_logits(loaded.model), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert not torch.allclose(expected, _logits(policy.model), atol=1e-3)
    assert loaded.tokenizer.sha256 == policy.tokenizer.sha256


def test_that_is_said(adapter: Path, tmp_path: Path) -> None:
    (note,) = load_policy(adapter).notes
    assert note == f"{adapter} is an adapter (LORA of rank 4): merged into its base model, {tmp_path / 'base'}"


def test_every_weight_is_trained_afterwards(adapter: Path) -> None:
    assert all(parameter.requires_grad for parameter in load_policy(adapter).model.parameters())


def test_what_is_saved_is_a_whole_model_for_everybody(adapter: Path, tmp_path: Path) -> None:
    loaded = load_policy(adapter)
    save_policy(loaded, tmp_path / "merged")
    again = load_policy(tmp_path / "merged")
    assert torch.equal(_logits(again.model), _logits(loaded.model))
    assert again.notes == ()
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(_logits(theirs), _logits(loaded.model))


def test_a_base_that_is_given_goes_before_the_one_that_is_named(policy: Policy, adapter: Path, tmp_path: Path) -> None:
    _name_base(adapter, "owner/gone")
    expected = _adapt(policy.model, tmp_path / "again")
    torch.testing.assert_close(
        _logits(load_policy(adapter, base=tmp_path / "base").model), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE
    )


@pytest.mark.parametrize("base", ["owner/gone", "/no/such/folder", "gone"])
def test_a_base_that_is_not_to_be_had_is_named_with_its_adapter(base: str, adapter: Path) -> None:
    _name_base(adapter, base)
    with pytest.raises(CheckpointError, match=rf"the adapter {adapter} belongs on {base} .*say base=FOLDER"):
        load_policy(adapter)
    with pytest.raises(CheckpointError, match=rf"the adapter {adapter} belongs on {base} "):
        load_tokenizer(adapter)


def test_an_adapter_that_names_no_base_asks_for_one(adapter: Path) -> None:
    _name_base(adapter, None)
    with pytest.raises(CheckpointError, match=r"names no base model in its adapter_config\.json; say base=FOLDER"):
        load_policy(adapter)


def test_without_peft_the_extra_is_named(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"peft is not installed; .*llama2-alignment-suite\[peft\]"):
        load_policy(adapter)


def test_a_tokenizer_that_the_adapter_brings_is_the_bases_where_it_gives_the_same_ids(
    policy: Policy, adapter: Path
) -> None:
    to_transformers(policy.tokenizer).save_pretrained(adapter)
    assert load_policy(adapter).tokenizer.sha256 == load_tokenizer(adapter).sha256 == policy.tokenizer.sha256


def _with_a_new_token(policy: Policy, folder: Path, **changes: Any) -> torch.Tensor:
    """An adapter as one trained after a token was added: it brings embedding and head whole."""
    model = deepcopy(policy.model)
    model.resize_token_embeddings(401)
    expected = _adapt(model, folder, **changes)
    fast = to_transformers(policy.tokenizer)
    fast.add_special_tokens({"pad_token": "<pad>"})
    fast.save_pretrained(folder)
    return expected


@pytest.mark.parametrize("changes", [{}, {"modules_to_save": ["embed_tokens", "lm_head"]}], ids=["beside", "trained"])
def test_a_token_that_was_added_before_training_comes_with_the_adapter(
    changes: dict[str, Any], policy: Policy, adapter: Path, tmp_path: Path
) -> None:
    expected = _with_a_new_token(policy, tmp_path / "grown", **changes)
    loaded = load_policy(tmp_path / "grown", base=tmp_path / "base")
    assert (loaded.tokenizer.vocab_size, loaded.model.config.vocab_size) == (401, 401)
    torch.testing.assert_close(_logits(loaded.model), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_a_new_token_without_weights_of_its_own_is_refused(policy: Policy, adapter: Path) -> None:
    fast = to_transformers(policy.tokenizer)
    fast.add_special_tokens({"pad_token": "<pad>"})
    fast.save_pretrained(adapter)
    with pytest.raises(TokenizerError, match=r"vocabulary of 400, the tokenizer .* has 401 pieces"):
        load_policy(adapter)


@pytest.mark.parametrize(
    "damage, why",
    [
        ("a tensor lacks", "adapter_model.safetensors lacks base_model.model.model.layers.0.mlp.down_proj.lora_A"),
        ("a tensor too many", "adapter_model.safetensors holds base_model.model.extra"),
        ("another shape", "does not fit its base model"),
        ("not finite", r"merged into its base: .* not finite"),
        ("cut", "is no whole safetensors file"),
        ("pickled", "holds adapter_config.json but no adapter_model.safetensors; pickled weights are not read"),
    ],
)
def test_damaged_adapters_are_refused(damage: str, why: str, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    if damage == "a tensor lacks":
        del tensors[name]
    elif damage == "a tensor too many":
        tensors["base_model.model.extra"] = torch.zeros(3)
    elif damage == "another shape":
        tensors[name] = torch.zeros(4, 7)
    elif damage == "not finite":
        tensors[name][0, 0] = float("nan")
    save_file(tensors, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "pickled":
        file.rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=why):
        load_policy(adapter)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"peft_type": "NONE"}'])
def test_a_configuration_of_rubbish_is_refused(text: str, adapter: Path, tmp_path: Path) -> None:
    (adapter / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=str(adapter)):
        load_policy(adapter, base=tmp_path / "base")


def test_a_prompt_that_was_trained_is_no_change_of_weights(policy: Policy, adapter: Path, tmp_path: Path) -> None:
    peft.get_peft_model(
        deepcopy(policy.model), peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, token_dim=32,
                                                        num_layers=2, num_attention_heads=2)
    ).save_pretrained(tmp_path / "prefix")  # fmt: skip
    with pytest.raises(CheckpointError, match="is a PREFIX_TUNING adapter"):
        load_policy(tmp_path / "prefix", base=tmp_path / "base")


def test_an_adapter_of_a_head_that_is_tied_is_refused(policy: Policy, tmp_path: Path) -> None:
    tied = deepcopy(policy.model)
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    save_policy(Policy(model=tied, tokenizer=policy.tokenizer), tmp_path / "tied")
    _adapt(policy.model, tmp_path / "adapter", target_modules=["lm_head"])
    with pytest.raises(CheckpointError, match=r"adapts .*lm_head.*ties head and embedding"):
        load_policy(tmp_path / "adapter", base=tmp_path / "tied")


def test_a_folder_with_a_whole_model_too_is_refused(adapter: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (adapter / name).write_bytes((tmp_path / "base" / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"holds a whole model \(model.safetensors\) and an adapter"):
        load_policy(adapter)


def test_an_adapter_on_an_adapter_is_merged_into_that_ones_model(adapter: Path, tmp_path: Path) -> None:
    expected = _adapt(load_policy(adapter).model, tmp_path / "second", target_modules=["v_proj"])
    _name_base(tmp_path / "second", str(adapter))
    loaded = load_policy(tmp_path / "second")
    torch.testing.assert_close(_logits(loaded.model), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert [note.split(" is an adapter")[0] for note in loaded.notes] == [str(adapter), str(tmp_path / "second")]


def test_adapters_that_stand_on_each_other_are_refused(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "second")
    _name_base(tmp_path / "second", str(adapter))
    _name_base(adapter, str(tmp_path / "second"))
    with pytest.raises(CheckpointError, match=rf"the adapter {adapter} belongs on .*, which belongs on it in turn"):
        load_policy(adapter)


def test_a_base_that_is_named_from_the_adapters_folder_is_found_wherever_both_are(
    policy: Policy, adapter: Path, tmp_path: Path
) -> None:
    _name_base(adapter, "../base")
    (tmp_path / "moved").mkdir()
    for name in ("adapter", "base"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    expected = _adapt(policy.model, tmp_path / "again")
    torch.testing.assert_close(
        _logits(load_policy(tmp_path / "moved" / "adapter").model), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE
    )


def test_a_base_for_a_whole_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a whole model; base=x is for an adapter"):
        load_policy(tmp_path / "base", base="x")


def test_a_runs_fingerprint_rests_on_the_base_models_files_too(adapter: Path, tmp_path: Path) -> None:
    files = files_of(str(adapter), "model.path")
    assert adapter / "adapter_model.safetensors" in files
    assert tmp_path / "base" / "model.safetensors" in files
