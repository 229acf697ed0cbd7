"""PPO, against the last TRL that has a PPOTrainer (1.12.0, in an environment of its own that is made here, once).

    python -m benchmarks.ppo [--bf16 | --best] [--whole] [--anew] [--epochs 1] [--threads 2 | --processor] [--rounds 3]

What is compared is samples a second of whole PPO iterations: `rl.train_ppo` and `PPOTrainer.train` with prompts of 64
tokens, answers of at most 128, a batch of 32 and, by default, one epoch of four mini-batches of 8, each an optimizer
step of policy and value function.  An answer ends, as a chat model's does, where the end token is drawn: here with a
probability of 1/64 a token, wherever it stands, so that an answer has 55 tokens on average and one in seven is cut.
With `--whole` nothing ends an answer before 128, on either side.  Both have four models of the benchmarks' shape
(policy, reference, reward and value model; the policies start from the same weights), sample at temperature 1, have no
dropout, checkpoint no activations, and do the same of each answer: drawn once, scored once, its log-probabilities under
policy and reference and its values once, a forward and a backward pass of policy and value model an epoch.  The same
losses at the same coefficients, and both take the policy's log-probabilities from their samplers (`--anew`: ours
computes them itself, as it does unless told, a pass more).  Ours does more in writing its samples' journal and its row
of metrics.  What was done is counted and held against what was asked for, on both sides: optimizer steps, answers'
lengths, with `--whole` tokens of the peer's gradients.  (TRL draws and computes every answer to the length of the
longest one: its own doing, no work asked for.)

A round is a call with `--iterations` iterations after a first one and before a last one that are not counted, since a
call's opening and its saving are no part of the work.  Sides that wait hold no processor.  `--processor` counts seconds
of the processor that each side used, with one thread: for a machine on which other work runs.

By default both compute in fp32.  `--bf16`: ours under autocast, TRL's under accelerate's mixed precision (its own flag
`bf16` is not read), which reaches its updates and not its rollouts.  `--best`: ours in bf16 against the faster of TRL's
two.  bf16 weights would be other work: at a learning rate of 1e-6 most of an update is rounded away.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors.torch import save_file
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import LlamaConfig

from alignment.batch.tree import Tree, make_batch
from alignment.model.llama import LlamaPolicy
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Source, Turn
from alignment.store.journal import read_journal
from alignment.text.chat import render_prompt
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import Tokenizer, train_tokenizer
from alignment.train.session import Session, Silent
from alignment.train.settings import ComputeSettings
from benchmarks.measure import benchmark_config, print_result, rates_in_turn, use_machine
from benchmarks.peer_environment import cache_folder, peer_python
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.settings import PpoSettings, RolloutSettings

Clock = Literal["wall", "processor"]
CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
ROOT = Path(__file__).resolve().parents[1]
# the last with a PPOTrainer; what decides its speed is as on our side
PEER = (f"torch=={torch.__version__}", "trl==1.12.0", "transformers==5.23.0", "accelerate==1.15.0", "datasets==5.2.0")
TOLD = 3000  # characters of what a peer said, where it failed


@dataclass(frozen=True, kw_only=True)
class Task:
    """One PPO training: sizes in tokens and answers."""

    prompt: int = 64
    response: int = 128  # at most
    ends: float = 1 / 64  # the probability that a token ends its answer; 0: none does
    batch_size: int = 32
    minibatch_size: int = 8
    epochs: int = 1
    anew: bool = False  # ours computes the sampled tokens' log-probabilities itself
    iterations: int = 2  # that are counted; one before and one after are not
    threads: int = 2
    clock: Clock = "wall"
    config: LlamaConfig = field(default_factory=benchmark_config)

    @property
    def mean_response(self) -> float:
        """Tokens of an answer that are to be expected, its end token too."""
        stays = 1 - self.ends
        return self.response if not self.ends else (1 - stays**self.response) / self.ends

    @property
    def all_iterations(self) -> int:
        """With those that are not counted."""
        return self.iterations + 2

    @property
    def steps(self) -> int:
        """Optimizer steps of a round, of one optimizer."""
        return self.all_iterations * self.epochs * (self.batch_size // self.minibatch_size)

    @property
    def trained_tokens(self) -> int:
        """Tokens of a round's rows that a padded body computes for a gradient, where no answer ends early."""
        return self.all_iterations * self.epochs * self.batch_size * (self.prompt + self.response)


class NeverEnds(Tokenizer):
    """A tokenizer whose end token no model can draw: every answer has its whole length."""

    @property
    def eos_id(self) -> int:
        return -1


def make_tokenizer(vocabulary: int, *, ends: bool = False) -> Tokenizer:
    """A tokenizer of exactly so many pieces, from made-up words.

    Args:
        ends: whether its end token can be drawn.
    """
    draws = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(draws.choice(letters, size=int(draws.integers(2, 9)))) for _ in range(2 * vocabulary)]
    lines = [" ".join(draws.choice(words, size=12)) for _ in range(2 * vocabulary)]
    settings = TokenizerSettings(vocab_size=vocabulary, character_coverage=1.0)
    found = train_tokenizer(lines, settings).model_bytes
    return Tokenizer(found) if ends else NeverEnds(found)


def end_answers(model: LlamaPolicy, token: int, probability: float) -> None:
    """Let a model with drawn weights say a token with nearly the same probability wherever it stands.

    The first channel of every token is 1 and no layer adds to it, so that the last norm leaves it nearly the same
    everywhere; the token's logit is read from that channel alone, and no other logit is.
    """
    draws = np.random.default_rng(2).integers(3, model.config.vocab_size, size=128)
    text = make_batch([Tree.sequence(draws, np.ones(len(draws), dtype=bool))])
    with torch.no_grad():
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedding[:, 0] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        head[:, 0] = 0.0
        head[token] = 0.0
        hidden = model.model.flat(text.token_ids, text.plan())
        logits = hidden @ head.T
        logits[:, token] = -torch.inf
        wanted = torch.logsumexp(logits, dim=-1).mean() + math.log(probability / (1 - probability))
        head[token, 0] = wanted / hidden[:, 0].mean()


def make_prompts(tokenizer: Tokenizer, task: Task) -> list[Dialogue]:
    """A batch of prompts, each of exactly the task's tokens."""
    draws = np.random.default_rng(1)
    pieces = [i for i in range(259, tokenizer.vocab_size) if tokenizer.piece(i).startswith("▁")]
    found: list[Dialogue] = []
    while len(found) < task.batch_size:
        content, prompt = "", None
        while prompt is None or len(render_prompt(prompt, tokenizer)) < task.prompt:
            content += " " + tokenizer.piece(int(draws.choice(pieces)))[1:]
            turn = Turn(role="user", content=content.strip())
            prompt = Dialogue(turns=(turn,), source=Source(file="made", line=len(found) + 1), id=f"p{len(found)}")
        if len(render_prompt(prompt, tokenizer)) == task.prompt:
            found.append(prompt)
    return found


class Ends(Silent):
    """When each iteration ended, by a clock."""

    def __init__(self, clock: Clock) -> None:
        self.at: list[float] = []
        self._now = CLOCKS[clock]

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """Called once before the first iteration, too."""
        if done:
            self.at.append(self._now())


class Ours:
    """`rl.train_ppo` on the task; each call is a round."""

    def __init__(self, task: Task, precision: str) -> None:
        self.task = task
        self.compute = ComputeSettings(precision=precision, threads=task.threads)  # type: ignore[arg-type]
        tokenizer = make_tokenizer(task.config.vocab_size, ends=task.ends > 0)
        torch.manual_seed(0)
        model = LlamaPolicy(task.config)
        if task.ends:
            end_answers(model, tokenizer.eos_id, task.ends)
        self.policy = Policy(model=model, tokenizer=tokenizer)
        self.judges = RewardJudges(
            helpfulness=RewardModel.from_policy(self.policy, seed=0, name="helpfulness"), compute=self.compute
        )
        self.prompts = make_prompts(tokenizer, task)
        self.settings = PpoSettings(
            iterations=task.all_iterations,
            value_iterations=0,
            batch_size=task.batch_size,
            minibatch_size=task.minibatch_size,
            epochs=task.epochs,
            sampling=RolloutSettings(max_new_tokens=task.response),
            log_probs="trainer" if task.anew else "sampler",
            evaluate_every=task.all_iterations,
            save_every=task.all_iterations,
        )
        self.steps = 0
        register_optimizer_step_post_hook(self._step)

    def _step(self, *_: Any) -> None:
        self.steps += 1

    def __call__(self) -> float:
        """Samples a second.

        Raises:
            SystemExit: something else was done than the task asks for.
        """
        ends, self.steps = Ends(self.task.clock), 0
        with tempfile.TemporaryDirectory() as folder:
            session = Session(folder, compute=self.compute, progress=ends)
            split = PromptSplit(train=self.prompts, held_out=self.prompts[:1])
            train_ppo(self.policy, self.judges, split, self.settings, session)
            lengths = [row["answer_tokens"] for row in read_journal(Path(folder) / "metrics.jsonl")]
        require_same("our optimizer steps of policy and value function", self.steps, 2 * self.task.steps)
        require_lengths("our answers", math.fsum(lengths) / len(lengths), self.task)
        return self.task.iterations * self.task.batch_size / (ends.at[-2] - ends.at[0])


class Peer:
    """TRL's trainer in a process of its own; each call is a round.

    Args:
        mixed: whether accelerate computes its updates in bf16.

    Raises:
        SystemExit: it ended, or did something else than the task asks for.
    """

    def __init__(self, command: list[str], job: Path, task: Task, *, mixed: bool, log: Path) -> None:
        self.task, self._log = task, log
        environment = {
            **os.environ,
            "ACCELERATE_MIXED_PRECISION": "bf16" if mixed else "no",
            "TRL_EXPERIMENTAL_SILENCE": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(task.threads),
        }
        self._process = subprocess.Popen(
            [*command, str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"),
            text=True, env=environment,
        )  # fmt: skip
        self.told = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self) -> float:
        """Samples a second."""
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        did = self._answer()
        require_same("the peer's optimizer steps", did["steps"], self.task.steps)
        if self.task.ends:
            require_lengths("the peer's answers", did["answer_tokens"], self.task)
        else:
            require_same("tokens of the peer's gradients", did["trained_tokens"], self.task.trained_tokens)
        require_same("the peer's samples", did["samples"], self.task.iterations * self.task.batch_size)
        return float(did["samples"] / did["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended:\n{self._log.read_text(encoding='utf-8')[-TOLD:].strip()}")
        said: dict[str, Any] = json.loads(line)
        return said


def require_same(what: str, found: object, wanted: object) -> None:
    """Refuse to compare what is not the same work.

    Raises:
        SystemExit: it is another one.
    """
    if found != wanted:
        raise SystemExit(f"{what}: {found}, where the task asks for {wanted}; nothing is compared")


def require_lengths(whose: str, found: float, task: Task) -> None:
    """Refuse answers that are not as long as the task's: exactly where none ends, within five standard errors else.

    Raises:
        SystemExit: they are longer or shorter.
    """
    most = 5 * task.mean_response / math.sqrt(task.all_iterations * task.batch_size) if task.ends else 0.0
    if abs(found - task.mean_response) > most:
        asked = f"the task asks for {task.mean_response:.1f}"
        raise SystemExit(f"{whose} have {found:.1f} tokens on average, where {asked}; nothing is compared")


def write_job(ours: Ours, folder: Path) -> Path:
    """What the peer is given: the shape, our policy's weights, the prompts' tokens, and the sizes."""
    task, weights = ours.task, folder / "policy.safetensors"
    save_file({name: value.contiguous() for name, value in ours.policy.model.state_dict().items()}, weights)
    job = {
        "root": str(ROOT),
        "config": task.config.to_diff_dict(),
        "weights": str(weights),
        "end": ours.policy.tokenizer.eos_id if task.ends else None,
        "prompts": [list(render_prompt(prompt, ours.policy.tokenizer)) for prompt in ours.prompts],
        "iterations": task.all_iterations,
        **{
            name: getattr(task, name)
            for name in ("response", "batch_size", "minibatch_size", "epochs", "threads", "clock")
        },
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def compare(ours: Ours, command: list[str], kinds: tuple[bool, ...], rounds: int, folder: Path) -> tuple[float, float]:
    """Median samples a second of us and of the faster of the peers.

    Args:
        command: runs a peer on a job.
        kinds: whether each peer's updates are in bf16.
    """
    job = write_job(ours, folder)
    with ExitStack() as running:
        sides: dict[str, Callable[[], float]] = {"ours": ours}
        for mixed in kinds:
            name = f"TRL {'bf16' if mixed else 'fp32'}"
            peer = Peer(command, job, ours.task, mixed=mixed, log=folder / f"{name}.log")
            sides[name] = running.enter_context(peer)
            print(f"{name}: {peer.told}", file=sys.stderr, flush=True)
        rates = rates_in_turn(sides, rounds, warm=False)  # a round's first iteration is its warm-up
    mine = rates.pop("ours")
    return mine, max(rates.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--bf16", action="store_true", help="both sides in bf16, as far as TRL goes")
    precision.add_argument("--best", action="store_true", help="our bf16 against the faster of TRL's fp32 and bf16")
    parser.add_argument("--anew", action="store_true", help="ours computes the answers' log-probabilities itself")
    parser.add_argument("--whole", action="store_true", help="nothing ends an answer before its limit")
    parser.add_argument("--epochs", type=int, default=1, help="passes over a batch's answers")
    parser.add_argument("--minibatch", type=int, default=8, help="answers of an optimizer step")
    parser.add_argument("--iterations", type=int, default=2, help="counted iterations of a round")
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--threads", type=int, default=2)
    machine.add_argument("--processor", action="store_true", help="one thread, by the processor's time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="where the peer's environment is kept")
    asked = parser.parse_args()
    threads = 1 if asked.processor else asked.threads
    use_machine(threads)
    task = Task(
        ends=0.0 if asked.whole else Task.ends,
        epochs=asked.epochs,
        anew=asked.anew,
        minibatch_size=asked.minibatch,
        iterations=asked.iterations,
        threads=threads,
        clock="processor" if asked.processor else "wall",
    )
    python = peer_python("trl-ppo", PEER, asked.cache)
    command = [str(python), "-P", str(ROOT / "benchmarks" / "ppo_peer.py")]  # -P: our file names hide no package
    ours = Ours(task, "bf16" if asked.bf16 or asked.best else "fp32")
    kinds = (False, True) if asked.best else (asked.bf16,)
    with tempfile.TemporaryDirectory() as folder:
        result = compare(ours, command, kinds, asked.rounds, Path(folder))
    kind = "each its best" if asked.best else "bf16" if asked.bf16 else "fp32"
    answers = f"{'' if asked.whole else 'up to '}{task.response} tokens"
    work = f"PPO, answers of {answers}, batch {task.batch_size}, mini-batch {task.minibatch_size}, {task.epochs} epochs"
    print_result(work, kind, f"samples/s of the {task.clock}", *result)


if __name__ == "__main__":
    main()
