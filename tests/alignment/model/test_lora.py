"""PEFT wraps the core as it is: LoRA trains on forests, leaves the base alone, and merges."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from alignment.batch.tree import Tree, make_batch
from alignment.policy.policy import Policy
from alignment.train.language_model import language_loss
from alignment.train.optimizer import make_optimizer
from alignment.train.settings import OptimizerSettings
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")


def test_lora_trains_on_forests_and_merges_to_the_same_outputs(policy: Policy) -> None:
    ids = policy.tokenizer.encode("the baker sells bread", bos=True, eos=True)
    batch = make_batch([Tree.sequence(ids, [True] * len(ids)), Tree.sequence(ids[:4], [True] * 4)])
    base = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(policy.model, config)
    optimizer = make_optimizer(wrapped, OptimizerSettings(learning_rate=0.02))
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(trained) == 2 * 3 * 2  # layers, modules, the two factors
    losses = []
    for _ in range(12):
        loss, _figures = language_loss(wrapped, batch)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.95 * losses[0]
    state = dict(wrapped.named_parameters())
    for name, before in base.items():
        inside = [key for key in state if key.replace(".base_layer", "").endswith(f"base_model.model.{name}")]
        assert len(inside) == 1
        assert torch.equal(state[inside[0]], before), name
    with torch.no_grad():
        expected = wrapped(input_ids=batch.token_ids[None], forest_plan=batch.plan()).logits
        merged = wrapped.merge_and_unload()
        assert type(merged) is type(policy.model)
        actual = merged(input_ids=batch.token_ids[None], forest_plan=batch.plan()).logits
    torch.testing.assert_close(actual, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    after = merged.model.layers[0].self_attn.q_proj.weight
    assert not torch.equal(after, base["model.layers.0.self_attn.q_proj.weight"])


def test_a_saved_adapter_loads_onto_the_saved_base(policy: Policy, tmp_path: Path) -> None:
    base = deepcopy(policy.model)
    ids = torch.tensor([policy.tokenizer.encode("the baker sells bread", bos=True)])
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(deepcopy(base), config)
    wrapped.save_pretrained(tmp_path / "adapter")
    assert sorted(path.suffix for path in (tmp_path / "adapter").iterdir()) == [".json", ".md", ".safetensors"]
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    with torch.no_grad():
        plain = policy.model(input_ids=ids).logits
        expected, found = wrapped(input_ids=ids).logits, loaded(input_ids=ids).logits
        merged = loaded.merge_and_unload()(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    torch.testing.assert_close(merged, expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert not torch.allclose(plain, expected, atol=1e-3)
