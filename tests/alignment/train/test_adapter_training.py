"""A stage with an adapter: the base stays as it is, the adapter alone is trained, kept and saved, and PEFT opens it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaForCausalLM

from alignment.errors import CheckpointError, Interrupted, MissingExtra, SettingError, UsageError
from alignment.model.llama import LlamaPolicy
from alignment.model.settings import ModelSettings
from alignment.policy.adapted import adapt
from alignment.policy.foreign.meta import write_meta_checkpoint
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.policy.settings import PROJECTIONS, AdapterSettings
from alignment.records import Dialogue
from alignment.text.tokenizer import Tokenizer
from alignment.train.checkpoints import model_tensors
from alignment.train.session import Session
from alignment.train.settings import SftSettings
from alignment.train.sft import sft
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
IDS = torch.arange(20)[None] * 7
LORA = AdapterSettings()


@pytest.fixture
def base(policy: Policy, tmp_path: Path) -> Path:
    """The chat model to start from, saved where a run's stage would have it."""
    save_policy(policy, tmp_path / "base" / "checkpoint")
    return tmp_path / "base" / "checkpoint"


@pytest.fixture
def tune(
    make_session: Callable[..., Session], make_sft_settings: Callable[..., SftSettings], dialogues: list[Dialogue]
) -> Callable[..., Path]:
    """SFT of a policy with an adapter, six steps; gives the checkpoint's folder."""

    def run(policy: Policy, name: str = "sft", adapter: AdapterSettings = LORA, **more: Any) -> Path:
        session = make_session(name, **more)
        sft(policy, dialogues, make_sft_settings(adapter=adapter), session, held_out=dialogues[:2])
        return session.folder / "checkpoint"

    return run


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_only_what_the_adapter_adds_to_its_targets_changes(base: Path, tune: Callable[..., Path]) -> None:
    policy = load_policy(base)
    before = {name: tensor.clone() for name, tensor in model_tensors(policy.model).items()}
    tune(policy)
    changed = {name for name, tensor in model_tensors(policy.model).items() if not torch.equal(tensor, before[name])}
    assert changed == {f"model.layers.{i}.self_attn.{name}.weight" for i in (0, 1) for name in ("q_proj", "v_proj")}


def test_it_learns(base: Path, tune: Callable[..., Path]) -> None:
    checkpoint = tune(load_policy(base), adapter=AdapterSettings(targets="all-linear"))
    rows = [json.loads(line) for line in (checkpoint.parent / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1


def test_a_training_checkpoint_holds_the_adapter_and_the_optimizers_state_of_it_alone(
    base: Path, tune: Callable[..., Path]
) -> None:
    with pytest.raises(Interrupted):
        tune(load_policy(base), stop_after=3)
    (step,) = (base.parents[1] / "sft" / "checkpoints").glob("step-000003")
    names = set(load_file(step / "model.safetensors"))
    assert len(names) == 2 * 2 * 2  # layers, targets, A and B
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert {name.split("|")[0] for name in load_file(step / "optimizer.safetensors")} == names


def test_resumed_it_takes_the_very_same_steps_its_dropout_too(
    base: Path, tune: Callable[..., Path], equal_parts: Callable[[Path], dict[str, Any]]
) -> None:
    wet = AdapterSettings(dropout=0.5)
    straight = tune(load_policy(base), "straight", wet).parent
    with pytest.raises(Interrupted):
        tune(load_policy(base), "stopped", wet, stop_after=3)
    torch.rand(7)  # another process has drawn other numbers
    resumed = tune(load_policy(base), "stopped", wet).parent
    assert equal_parts(resumed) == equal_parts(straight)
    dry = tune(load_policy(base), "dry", AdapterSettings(dropout=0.0)).parent
    assert equal_parts(dry) != equal_parts(straight)


def test_what_is_saved_is_an_adapter_that_opens_as_the_trained_policy(base: Path, tune: Callable[..., Path]) -> None:
    policy = load_policy(base)
    checkpoint = tune(policy)
    opened = load_policy(checkpoint)
    assert type(opened.model) is LlamaPolicy
    assert torch.equal(logits(opened.model), logits(policy.model))
    assert not torch.allclose(logits(opened.model), logits(load_policy(base).model), atol=1e-3)
    assert sum(file.stat().st_size for file in checkpoint.glob("*.safetensors")) < 30_000
    assert not (checkpoint / "config.json").exists()


def test_peft_opens_it_on_transformers_own_llama_with_the_same_logits(base: Path, tune: Callable[..., Path]) -> None:
    policy = load_policy(base)
    checkpoint = tune(policy, adapter=AdapterSettings(rank=3, alpha=5, targets=("q_proj", "down_proj")))
    theirs = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), checkpoint)
    torch.testing.assert_close(logits(theirs), logits(policy.model), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_two_trainings_alike_write_the_same_bytes(base: Path, tune: Callable[..., Path]) -> None:
    one, other = (tune(load_policy(base), name) for name in ("one", "other"))
    for file in sorted(one.iterdir()):
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_targets_stand_in_one_order_whatever_process_writes_them(base: Path, tune: Callable[..., Path]) -> None:
    checkpoint = tune(load_policy(base), adapter=AdapterSettings(targets="all-linear"))
    said = json.loads((checkpoint / "adapter_config.json").read_text())
    assert said["target_modules"] == sorted(PROJECTIONS)  # PEFT writes a set, whose order is the process's own


def test_a_run_that_is_moved_as_a_whole_still_opens(base: Path, tune: Callable[..., Path], tmp_path: Path) -> None:
    policy = load_policy(base)
    tune(policy)
    (tmp_path / "moved").mkdir()
    for name in ("base", "sft"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert torch.equal(logits(load_policy(tmp_path / "moved/sft/checkpoint").model), logits(policy.model))


def test_a_later_stage_trains_a_new_adapter_beside_the_merged_model(base: Path, tune: Callable[..., Path]) -> None:
    first = tune(load_policy(base), "first")
    later = load_policy(first)
    start = logits(later.model)
    second = tune(later, "second", AdapterSettings(rank=2, targets=("gate_proj",)))
    assert torch.equal(logits(load_policy(second).model), logits(later.model))
    assert not torch.allclose(start, logits(later.model), atol=1e-3)
    assert torch.equal(logits(load_policy(first).model), start)


def test_a_full_training_may_follow_and_saves_a_whole_model(
    base: Path,
    tune: Callable[..., Path],
    make_session: Callable[..., Session],
    make_sft_settings: Callable[..., SftSettings],
    dialogues: list[Dialogue],
) -> None:
    policy, session = load_policy(tune(load_policy(base))), make_session("full")
    before = {name: tensor.clone() for name, tensor in model_tensors(policy.model).items()}
    result = sft(policy, dialogues, make_sft_settings(), session)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in model_tensors(policy.model).items())
    assert (session.folder / "checkpoint" / "model.safetensors").exists()
    assert result.adapter_parameters is None


def test_a_base_in_metas_files_is_a_base(policy: Policy, tune: Callable[..., Path], tmp_path: Path) -> None:
    write_meta_checkpoint(policy.model, tmp_path / "meta")
    policy.tokenizer.save(tmp_path / "meta")
    trained = load_policy(tmp_path / "meta")
    checkpoint = tune(trained)
    assert torch.equal(logits(load_policy(checkpoint).model), logits(trained.model))
    with torch.no_grad():
        policy.model.model.norm.weight[0] += 1.0
    shutil.rmtree(tmp_path / "meta")
    write_meta_checkpoint(policy.model, tmp_path / "meta")
    policy.tokenizer.save(tmp_path / "meta")
    with pytest.raises(CheckpointError, match="trained on a base whose weights are"):
        load_policy(checkpoint)


def test_the_layers_of_another_architecture_are_adapted_by_its_own_names(
    tokenizer: Tokenizer, tune: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GPTNeoXConfig(vocab_size=400, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, **shape)
    save_policy(Policy(model=GPTNeoXForCausalLM(config), tokenizer=tokenizer), tmp_path / "neox")
    policy = load_policy(tmp_path / "neox")
    checkpoint = tune(policy, adapter=AdapterSettings(targets=("query_key_value",)))
    names = load_file(checkpoint / "adapter_model.safetensors")
    assert len(names) == 2 * 2  # layers, A and B
    assert torch.equal(logits(load_policy(checkpoint).model), logits(policy.model))


def test_how_many_numbers_were_trained_is_told(
    base: Path,
    make_session: Callable[..., Session],
    make_sft_settings: Callable[..., SftSettings],
    dialogues: list[Dialogue],
) -> None:
    adapter = AdapterSettings(rank=3, targets=("q_proj",))
    result = sft(load_policy(base), dialogues, make_sft_settings(adapter=adapter), make_session("sft"))
    assert result.as_json()["adapter_parameters"] == 2 * 3 * (32 + 32)  # layers, rank (in + out)


def test_layers_are_computed_anew_in_the_backward_pass_with_the_same_result(
    base: Path, tune: Callable[..., Path]
) -> None:
    plain, saving = load_policy(base), load_policy(base)
    saving.model.gradient_checkpointing_enable()
    tune(plain, "plain")
    tune(saving, "saving")
    torch.testing.assert_close(logits(saving.model), logits(plain.model), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_targets_that_the_model_has_not_are_refused_with_those_that_it_has(
    base: Path, tune: Callable[..., Path]
) -> None:
    with pytest.raises(SettingError, match=r"adapter\.targets: names wq, lm_head, .*; they have q_proj, k_proj, .*up_"):
        tune(load_policy(base), adapter=AdapterSettings(targets=("q_proj", "wq", "lm_head")))


def test_on_another_base_it_is_refused(base: Path, tune: Callable[..., Path], policy: Policy, tmp_path: Path) -> None:
    checkpoint = tune(load_policy(base))
    with torch.no_grad():
        policy.model.lm_head.weight[0, 0] += 1.0
    save_policy(policy, tmp_path / "other")
    with pytest.raises(CheckpointError, match=rf"trained on a base whose weights are \w+…; {tmp_path / 'other'} holds"):
        load_policy(checkpoint, base=tmp_path / "other")
    shutil.rmtree(base)
    save_policy(policy, base)
    with pytest.raises(CheckpointError, match="trained on a base whose weights are"):
        load_policy(checkpoint)


def test_on_a_copy_of_its_base_in_other_files_it_opens(base: Path, tune: Callable[..., Path], tmp_path: Path) -> None:
    policy = load_policy(base)
    checkpoint = tune(policy)
    load_policy(base).model.save_pretrained(tmp_path / "split", max_shard_size="40KB")
    for file in base.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "split")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 1
    assert torch.equal(logits(load_policy(checkpoint, base=tmp_path / "split").model), logits(policy.model))


def test_a_base_that_is_gone_may_be_given(base: Path, tune: Callable[..., Path], tmp_path: Path) -> None:
    policy = load_policy(base)
    checkpoint = tune(policy)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"not to be had .*; say base=FOLDER, or put it back there"):
        load_policy(checkpoint)
    assert torch.equal(logits(load_policy(checkpoint, base=tmp_path / "elsewhere").model), logits(policy.model))


def test_an_altered_adapter_is_refused(base: Path, tune: Callable[..., Path]) -> None:
    checkpoint = tune(load_policy(base))
    file = checkpoint / "adapter_config.json"
    file.write_text(file.read_text().replace('"lora_alpha": 16', '"lora_alpha": 61'))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json .* does not match its SHA-256"):
        load_policy(checkpoint)


def test_a_model_that_is_nowhere_on_the_disk_is_no_base(policy: Policy, tune: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match=r"loaded from none; save it and load it back"):
        tune(policy)


@pytest.mark.parametrize("through", ["a whole model", "an adapter"])
def test_a_model_that_changed_since_it_was_loaded_is_no_base(
    through: str, base: Path, tune: Callable[..., Path]
) -> None:
    policy = load_policy(base if through == "a whole model" else tune(load_policy(base), "before"))
    with torch.no_grad():
        policy.model.model.norm.weight[0] += 0.5
    with pytest.raises(UsageError, match=r"model\.norm\.weight has changed since the model was loaded"):
        tune(policy)


def test_without_peft_the_extra_is_named(
    base: Path, tune: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(base)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"llama2-alignment-suite\[peft\]"):
        tune(policy)


@pytest.fixture
def wide(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A chat model whose layers are of whole blocks of 64, saved."""
    shape = ModelSettings(size="custom", width=64, layers=2, heads=2, kv_heads=1, context_length=256)
    save_policy(Policy.fresh(shape, tokenizer), tmp_path / "wide")
    return tmp_path / "wide"


def test_beside_a_base_in_four_bits_an_adapter_learns_and_belongs_on_the_base_as_it_was(
    wide: Path, tune: Callable[..., Path]
) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra 'qlora' is not installed")
    policy = load_policy(wide)
    checkpoint = tune(policy, adapter=AdapterSettings(targets="all-linear", base_precision="nf4"))
    rows = [json.loads(line) for line in (checkpoint.parent / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1
    assert torch.equal(logits(policy.model), logits(load_policy(checkpoint).model))
    theirs = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(wide), checkpoint)
    torch.testing.assert_close(logits(theirs), logits(policy.model), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert all(parameter.requires_grad for parameter in policy.model.parameters())


def test_a_base_in_four_bits_takes_an_eighth_of_the_memory(wide: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra 'qlora' is not installed")
    wrapped = adapt(load_policy(wide).model, AdapterSettings(base_precision="nf4"), seed=0)
    layers = {name: weight for name, weight in wrapped.named_parameters() if "mlp" in name}
    assert {weight.dtype for weight in layers.values()} == {torch.uint8}
    whole = {name: weight for name, weight in load_policy(wide).model.named_parameters() if "mlp" in name}
    assert 8 * sum(map(bytes_of, layers.values())) == sum(map(bytes_of, whole.values()))


def bytes_of(weight: torch.Tensor) -> int:
    return weight.numel() * weight.itemsize


def test_four_bits_for_layers_of_no_whole_blocks_are_refused(base: Path, tune: Callable[..., Path]) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra 'qlora' is not installed")
    with pytest.raises(SettingError, match=r"adapter\.base_precision: is nf4, whose blocks are of 64 .* has 32 inputs"):
        tune(load_policy(base), adapter=AdapterSettings(base_precision="nf4"))


def test_without_bitsandbytes_a_base_in_four_bits_names_its_extra(
    base: Path, tune: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtra, match=r"bitsandbytes is not installed; .*llama2-alignment-suite\[qlora\]"):
        tune(load_policy(base), adapter=AdapterSettings(base_precision="nf4"))
