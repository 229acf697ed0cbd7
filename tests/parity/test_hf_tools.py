"""What people do with a transformers model works on the core as on its peer: generate, train, adapt, export."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DataCollatorWithFlattening, LlamaForCausalLM, PreTrainedModel, Trainer, TrainingArguments

from alignment.model.llama import LlamaPolicy
from tests.parity.test_hf_forward import ROPES
from tests.parity.test_llama_parity import config, relative, same_weights
from tests.tolerances import FP32

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tests.parity.test_hf_tools"
IDS = torch.randint(3, 67, (3, 9), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[0, :4] = 0
MASK[1, :2] = 0


@pytest.fixture
def pair() -> tuple[LlamaPolicy, LlamaForCausalLM]:
    """The core and its peer with the same weights, grouped heads, in evaluation mode."""
    ours, peer = same_weights({"num_key_value_heads": 2, "pad_token_id": 0}, torch.float32)
    return ours.eval(), peer.eval()


GENERATE: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "greedy without a cache": {"do_sample": False, "use_cache": False},
    "greedy with a static cache": {"do_sample": False, "cache_implementation": "static"},
    "sampled": {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
    "three beams": {"do_sample": False, "num_beams": 3, "num_return_sequences": 2},
    "the prompt in parts": {"do_sample": False, "prefill_chunk_size": 4},
}


@pytest.mark.parametrize("how", GENERATE)
def test_generate_gives_the_same_tokens(pair: tuple[LlamaPolicy, LlamaForCausalLM], how: str) -> None:
    found = []
    for model in pair:
        torch.manual_seed(0)
        found.append(model.generate(IDS, attention_mask=MASK, max_new_tokens=12, eos_token_id=None, **GENERATE[how]))
    assert found[0].shape[1] == 21
    assert found[0].tolist() == found[1].tolist()


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_generate_crosses_the_original_length_of_a_rotary_scaling(rope: str) -> None:
    shape = {"rope_parameters": ROPES[rope], "max_position_embeddings": 12, "pad_token_id": 0}
    found = []
    for model in same_weights(shape, torch.float32):
        found.append(
            model.eval().generate(
                IDS,
                attention_mask=MASK,
                max_new_tokens=10,
                do_sample=False,
                eos_token_id=None,
                output_logits=True,
                return_dict_in_generate=True,
            )
        )
    assert found[0].sequences.tolist() == found[1].sequences.tolist()
    for ours, peer in zip(found[0].logits, found[1].logits, strict=True):
        assert relative(ours, peer) < FP32


@pytest.mark.parametrize("how", ["embeddings", "a draft model", "lookup"])
def test_generate_gives_the_same_tokens_from_one_row(pair: tuple[LlamaPolicy, LlamaForCausalLM], how: str) -> None:
    found = []
    for model in pair:
        inputs: dict[str, Any] = {"inputs": IDS[2:]}
        if how == "embeddings":
            inputs = {"inputs_embeds": model.get_input_embeddings()(IDS[2:])}
        elif how == "a draft model":
            inputs["assistant_model"] = same_weights({"num_key_value_heads": 2}, torch.float32)[0].eval()
        else:
            inputs["prompt_lookup_num_tokens"] = 3
        found.append(model.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=None))
    assert found[0].tolist() == found[1].tolist()


def test_generate_goes_on_from_the_cache_it_returned(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    found = []
    for model in pair:
        first = model.generate(IDS[2:], return_dict_in_generate=True, **options)
        longer = torch.cat([first.sequences, torch.tensor([[5, 6]])], 1)
        found.append(model.generate(longer, past_key_values=first.past_key_values, **options))
        assert found[-1].tolist() == model.generate(longer, **options).tolist()
    assert found[0].tolist() == found[1].tolist()


def _rows() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(2)
    rows = [torch.randint(3, 67, (n,), generator=draw).tolist() for n in (5, 9, 7, 4)]
    return [{"input_ids": row, "labels": row} for row in rows]


def _padded(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)

    def laid(key: str, filler: int) -> Tensor:
        return torch.tensor([[*row[key], *[filler] * (longest - len(row[key]))] for row in rows])

    ids = laid("input_ids", 0)
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": laid("labels", -100)}


@pytest.mark.parametrize("checkpointed", [False, True], ids=["", "checkpointed"])
@pytest.mark.parametrize("collator", [_padded, DataCollatorWithFlattening()], ids=["padded", "packed by position_ids"])
def test_a_step_of_transformers_trainer(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], collator: Callable[..., Any], checkpointed: bool, tmp_path: Path
) -> None:
    logged = []
    for model in pair:
        arguments = TrainingArguments(
            str(tmp_path / type(model).__name__),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=1,
            learning_rate=1e-3,
            logging_steps=1,
            gradient_checkpointing=checkpointed,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
        )
        trainer = Trainer(model, arguments, train_dataset=_rows(), data_collator=collator)
        trainer.train()
        logged.append([trainer.state.log_history[0][name] for name in ("loss", "grad_norm")])
    assert logged[0] == pytest.approx(logged[1], rel=FP32)
    theirs = dict(pair[1].named_parameters())
    for name, parameter in pair[0].named_parameters():
        torch.testing.assert_close(parameter, theirs[name], rtol=FP32, atol=FP32)


def _adapters() -> dict[str, Any]:
    peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    return {
        "LoRA": peft.LoraConfig(
            task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False
        ),
        "prompt tuning": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        "prefix tuning": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    }


@pytest.mark.parametrize("kind", ["LoRA", "prompt tuning", "prefix tuning"])
def test_an_adapter_of_pefts(pair: tuple[LlamaPolicy, LlamaForCausalLM], kind: str) -> None:
    adapter = _adapters()[kind]
    from peft import get_peft_model

    batch, losses, grads, texts = _padded(_rows()[:3]), [], [], []
    for model in pair:
        torch.manual_seed(3)
        wrapped = get_peft_model(model, deepcopy(adapter))
        loss = wrapped(**batch).loss
        loss.backward()
        losses.append(loss.item())
        grads.append([parameter.grad for parameter in wrapped.parameters() if parameter.requires_grad])
        texts.append(
            wrapped.eval().generate(
                input_ids=IDS[2:], attention_mask=MASK[2:], max_new_tokens=6, do_sample=False, eos_token_id=None
            )
        )
    assert losses[0] == pytest.approx(losses[1], rel=FP32)
    assert len(grads[0]) == len(grads[1]) > 0
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=FP32, atol=FP32)
    assert texts[0].tolist() == texts[1].tolist()


@pytest.mark.parametrize("masked", [False, True], ids=["", "with padding"])
def test_the_whole_forward_is_one_graph(pair: tuple[LlamaPolicy, LlamaForCausalLM], masked: bool) -> None:
    given = {"attention_mask": MASK} if masked else {}
    compiled = torch.compile(pair[0], fullgraph=True, backend="eager")
    with torch.no_grad():
        ours, peer = (m(IDS, **given).logits for m in (compiled, pair[1]))
    assert relative(ours[MASK.bool()], peer[MASK.bool()]) < FP32


def test_packed_rows_are_told_apart_in_a_graph_too(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1]])
    compiled = torch.compile(pair[0], fullgraph=True, backend="eager")
    with torch.no_grad():
        ours, peer = (m(IDS, position_ids=positions, use_cache=False).logits for m in (compiled, pair[1]))
    assert relative(ours, peer) < FP32


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_serves_other_lengths(pair: tuple[LlamaPolicy, LlamaForCausalLM], strict: bool) -> None:
    length = torch.export.Dim("length", min=2, max=64)
    program = torch.export.export(
        pair[0],
        (IDS,),
        {"use_cache": False},
        dynamic_shapes={"input_ids": {1: length}, "use_cache": None},
        strict=strict,
    ).module()
    with torch.no_grad():
        for ids in (IDS, IDS[:, :5]):
            assert relative(program(ids, use_cache=False).logits, pair[1](ids).logits) < FP32


def run_tensor_parallel(folder: str) -> None:
    """What each of two processes does: heads shared out by the plan, logits, gradients and tokens as of one."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    shared: PreTrainedModel = LlamaPolicy.from_pretrained(folder, tp_plan="auto").eval()
    whole = LlamaPolicy.from_pretrained(folder).eval()
    with torch.no_grad():
        for use_cache in (True, False):
            assert relative(shared(IDS, use_cache=use_cache).logits, whole(IDS, use_cache=use_cache).logits) < FP32
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    assert shared.generate(IDS, **options).tolist() == whole.generate(IDS, **options).tolist()  # type: ignore[operator]
    for model in (shared, whole):
        model(IDS, labels=IDS).loss.backward()
    name = "model.layers.0.self_attn.k_proj.weight"
    part, full = (dict(model.named_parameters())[name].grad for model in (shared, whole))
    part = part.to_local()  # type: ignore[union-attr, operator]
    assert part.shape[0] * 2 == full.shape[0]  # type: ignore[union-attr]
    assert relative(part, full[part.shape[0] * dist.get_rank() :][: part.shape[0]]) < FP32  # type: ignore[index]
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_share_the_heads_of_a_tensor_parallel_plan(tmp_path: Path) -> None:
    torch.manual_seed(0)
    LlamaPolicy(config(num_key_value_heads=2, initializer_range=0.3, vocab_size=68)).save_pretrained(tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", MODULE, str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=180
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


if __name__ == "__main__":
    run_tensor_parallel(sys.argv[1])
