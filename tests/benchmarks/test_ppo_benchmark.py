"""The PPO benchmark's own parts: the task is what it says, and work that differs is not compared."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from alignment.text.chat import render_prompt
from benchmarks import ppo
from benchmarks.ppo import (
    NeverEnds,
    Ours,
    Peer,
    Task,
    compare,
    make_prompts,
    make_tokenizer,
    require_lengths,
    require_same,
    write_job,
)

SHAPE = LlamaConfig(
    vocab_size=400,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=48,
    max_position_embeddings=64,
    tie_word_embeddings=False,
)
TASK = Task(
    ends=0.0, prompt=20, response=5, batch_size=4, minibatch_size=2, epochs=2, iterations=1, threads=1, config=SHAPE
)

# a peer without TRL: what it says it did is the task's, unless the test changes it
ECHO = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
steps = job["iterations"] * job["epochs"] * (job["batch_size"] // job["minibatch_size"])
tokens = job["iterations"] * job["epochs"] * sum(len(ids) + job["response"] for ids in job["prompts"])
did = {"seconds": 2.0, "samples": 4, "steps": steps, "trained_tokens": tokens, **CHANGED}
print(json.dumps({"versions": {}}), flush=True)
for _ in sys.stdin:
    print(json.dumps(did), flush=True)
"""


@pytest.fixture(scope="module")
def tokenizer() -> NeverEnds:
    return make_tokenizer(SHAPE.vocab_size)


@pytest.fixture
def ours(tokenizer: NeverEnds, monkeypatch: pytest.MonkeyPatch) -> Ours:
    monkeypatch.setattr(ppo, "make_tokenizer", lambda vocabulary, **_: tokenizer)
    return Ours(TASK, "fp32")


def echo(folder: Path, changed: str = "{}") -> list[str]:
    """The command of a peer that says it did the task."""
    script = folder / "echo.py"
    script.write_text(ECHO.replace("CHANGED", changed), encoding="utf-8")
    return [sys.executable, str(script)]


def test_the_tokenizer_fills_the_models_vocabulary_and_its_end_is_no_token(tokenizer: NeverEnds) -> None:
    assert tokenizer.vocab_size == SHAPE.vocab_size
    assert tokenizer.eos_id not in range(SHAPE.vocab_size)


def test_every_prompt_has_exactly_the_tasks_tokens(tokenizer: NeverEnds) -> None:
    prompts = make_prompts(tokenizer, TASK)
    assert [len(render_prompt(prompt, tokenizer)) for prompt in prompts] == [TASK.prompt] * TASK.batch_size
    assert len({prompt.id for prompt in prompts}) == TASK.batch_size


def test_our_round_does_the_tasks_work_and_can_be_run_again(ours: Ours) -> None:
    assert ours() > 0
    assert ours.steps == 2 * TASK.steps == 2 * 3 * 2 * 2  # policy and value, iterations, epochs, mini-batches
    assert ours() > 0


def test_answers_of_another_length_are_no_round_of_ours(ours: Ours) -> None:
    ours.settings = ours.settings.model_copy(
        update={"sampling": ours.settings.sampling.model_copy(update={"max_new_tokens": 4})}
    )
    with pytest.raises(SystemExit, match=r"our answers have 4\.0 tokens on average, where the task asks for 5\.0"):
        ours()


def test_the_peer_is_given_our_weights_prompts_and_sizes(ours: Ours, tmp_path: Path) -> None:
    job = json.loads(write_job(ours, tmp_path).read_text(encoding="utf-8"))
    assert [len(ids) for ids in job["prompts"]] == [TASK.prompt] * TASK.batch_size
    assert job["iterations"] == TASK.iterations + 2
    assert LlamaConfig(**job["config"]).to_diff_dict() == SHAPE.to_diff_dict()
    assert Path(job["weights"]).is_file()


def test_the_faster_of_two_peers_is_compared_with(ours: Ours, tmp_path: Path) -> None:
    mine, peers = compare(ours, echo(tmp_path), (False, True), 1, tmp_path)
    assert mine > 0
    assert peers == 2.0  # four samples in two seconds


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("{'steps': 7}", "optimizer steps: 7"),
        ("{'trained_tokens': 1}", "gradients: 1"),
        ("{'samples': 5}", "samples: 5"),
    ],
)
def test_a_peer_that_did_other_work_is_not_compared(changed: str, why: str, ours: Ours, tmp_path: Path) -> None:
    job = write_job(ours, tmp_path)
    with (
        Peer(echo(tmp_path, changed), job, TASK, mixed=False, log=tmp_path / "log") as peer,
        pytest.raises(SystemExit, match=why),
    ):
        peer()


def test_a_peer_that_ends_says_why(ours: Ours, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text("raise ValueError('no such trainer')", encoding="utf-8")
    with pytest.raises(SystemExit, match="no such trainer"):
        Peer(
            [sys.executable, str(tmp_path / "echo.py")],
            write_job(ours, tmp_path),
            TASK,
            mixed=False,
            log=tmp_path / "log",
        )


def test_work_that_differs_is_told_with_both_figures() -> None:
    require_same("steps", 3, 3)
    with pytest.raises(SystemExit, match="steps: 3, where the task asks for 4; nothing is compared"):
        require_same("steps", 3, 4)


def test_an_answer_ends_with_the_tasks_probability_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(TASK, ends=0.25)
    ends = make_tokenizer(SHAPE.vocab_size, ends=True)
    monkeypatch.setattr(ppo, "make_tokenizer", lambda vocabulary, **_: ends)
    model = Ours(task, "fp32").policy.model
    draws = torch.Generator().manual_seed(0)
    logits = model(torch.randint(3, SHAPE.vocab_size, (4, 40), generator=draws)).logits
    chance = logits.softmax(-1)[..., ends.eos_id]
    assert 0.24 < chance.mean().item() < 0.26
    assert chance.std().item() < 0.05


def test_answers_that_end_are_held_against_the_length_to_be_expected() -> None:
    task = Task(response=128, ends=1 / 64, batch_size=32, iterations=2)
    assert task.mean_response == pytest.approx(sum((1 - 1 / 64) ** n for n in range(128)))
    require_lengths("ours", 50.0, task)
    with pytest.raises(SystemExit, match=r"ours have 128\.0 tokens on average, where the task asks for 55\.5"):
        require_lengths("ours", 128.0, task)
