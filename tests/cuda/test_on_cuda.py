"""What holds on the CPU holds on a GPU: attention over forests, sampling, the stages.  Skipped where there is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import LlamaConfig, LlamaForCausalLM

from alignment.batch.tree import Tree, make_batch
from alignment.generate.engine import Engine
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.attention import Backend, plan_attention
from alignment.model.forest import Forest
from alignment.model.llama import LlamaPolicy
from alignment.policy.policy import Policy, load_policy
from alignment.records import Dialogue
from alignment.store.journal import read_journal
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings, SftSettings
from alignment.train.sft import sft
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.settings import PpoSettings, RolloutSettings
from tests.tolerances import FP32

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def core(head_width: int = 32) -> LlamaPolicy:
    """A small core on the GPU; the fused kernels want heads of 16 or wider."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=4 * head_width,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    return LlamaPolicy(config).cuda().eval()


@pytest.mark.parametrize("backend", ["sdpa", "flex"])
def test_a_forest_on_a_fused_backend_equals_the_definition_in_outputs_and_gradients(backend: Backend) -> None:
    forest = Forest((40, 17, 25, 3, 60, 31, 8), (-1, 0, 0, 2, -1, 4, 4))
    tokens = torch.randint(3, 300, (sum(forest.lengths),), device="cuda")
    found = {}
    for name in ("dense", backend):
        model = core()
        hidden = model.model.flat(tokens, plan_attention(forest, tokens.device, backend=name))
        hidden.square().sum().backward()
        weight = model.model.layers[0].self_attn.k_proj.weight  # type: ignore[union-attr]
        assert weight.grad is not None
        found[name] = hidden.detach(), weight.grad
    for ours, definition in zip(found[backend], found["dense"], strict=True):
        assert float((ours - definition).abs().max() / definition.abs().max()) < 1e-3  # TF32 may be on


def test_greedy_answers_equal_generate_token_for_token() -> None:
    model = core().double()
    theirs = LlamaForCausalLM(model.config).cuda().double().eval()
    theirs.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    prompts = [torch.randint(3, 300, (length,)).tolist() for length in (1, 9, 33, 120)]
    requests = [SampleRequest(id=str(i), prompt_ids=tuple(p), seeds=(0,)) for i, p in enumerate(prompts)]
    settings = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=24)
    answers = Engine(model, eos_ids=[2], max_slots=3).sample(requests, settings)
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt], device="cuda")
        out = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=2,
            pad_token_id=0,
        )
        assert list(answer.token_ids) == out[0, len(prompt) :].tolist()


def test_sft_on_the_gpu_comes_to_the_losses_of_the_cpu(
    policy: Policy, dialogues: list[Dialogue], session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignment.data.settings import DataSettings, SourceSettings
    from alignment.policy.policy import save_policy

    save_policy(policy, tmp_path / "start")
    data = DataSettings(train=(SourceSettings(path="unused.jsonl"),))
    settings = SftSettings(data=data, context_length=128, batch_size=2, epochs=2)
    losses = {}
    for place in ("cuda", "cpu"):
        folder = tmp_path / place
        folder.mkdir()
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps the first device of a process
        if place == "cpu":
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        sft(load_policy(tmp_path / "start"), dialogues, settings, dataclasses.replace(session, folder=folder))
        losses[place] = [row["loss"] for row in read_journal(folder / "metrics.jsonl")]
    AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=FP32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ppos_sampler_and_trainer_agree(
    precision: str, policy: Policy, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    compute = ComputeSettings(precision=precision)  # type: ignore[arg-type]
    session = Session(folder=tmp_path, fingerprint="f", compute=compute)
    judges = RewardJudges(
        helpfulness=RewardModel.from_policy(policy, seed=0, name="helpfulness"),
        safety=RewardModel.from_policy(policy, seed=0, name="safety"),
        compute=compute,
    )
    prompts = [dataclasses.replace(dialogue.prompt(), meta={"campaign": "helpfulness"}) for dialogue in dialogues]
    settings = PpoSettings(
        iterations=2, value_iterations=1, batch_size=8, minibatch_size=4, sampling=RolloutSettings(max_new_tokens=12)
    )
    train_ppo(policy, judges, PromptSplit(train=prompts, held_out=prompts), settings, session)
    rows = read_journal(tmp_path / "metrics.jsonl")
    assert len(rows) == 3
    assert max(row["sampler_gap"] for row in rows) < (1e-4 if precision == "fp32" else 0.05), json.dumps(rows)


def test_a_forests_loss_takes_no_more_memory_than_its_sequences_alone() -> None:
    model = core(64).train()
    answers = [torch.randint(3, 300, (100,)).tolist() for _ in range(16)]
    prompt = torch.randint(3, 300, (300,)).tolist()
    shared = make_batch(
        [
            Tree(
                segments=tuple(torch.tensor(s).numpy() for s in (prompt, *answers)),
                trained=tuple(torch.full((len(s),), i > 0).numpy() for i, s in enumerate((prompt, *answers))),
                parents=(-1, *[0] * 16),
                rows=(),
            )
        ]
    ).to(torch.device("cuda"))
    alone = make_batch([Tree.sequence(prompt + answer, [False] * 300 + [True] * 100) for answer in answers]).to(
        torch.device("cuda")
    )
    peaks = []
    for batch in (shared, alone):
        torch.cuda.reset_peak_memory_stats()
        model.model.flat(batch.token_ids, batch.plan()).square().sum().backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] < peaks[1]
