"""R14: which rows a step takes follows from the seed and the step alone: not from the process, a resume or the ranks.

The trainer reads its rows itself, in the step that needs them: it has no loader workers whose number could matter.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn

from alignment.batch.steps import Steps
from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.errors import Interrupted
from alignment.policy.policy import Policy
from alignment.train.language_model import language_loss, num_targets
from alignment.train.session import Session, Silent, StopFlag
from alignment.train.settings import ComputeSettings, LoopSettings, OptimizerSettings
from alignment.train.trainer import Training, train

ROOT = Path(__file__).resolve().parents[2]
FORESTS, EPOCHS, NUM_TREES = 3, 2, 10

# everything between a file and a step: rows read, a share picked, held out, tokenized, packed, shuffled
_PIPELINE = """
import json, sys
from alignment.data.corpus import load_dialogues, load_preferences, load_prompts
from alignment.data.settings import DataSettings, SourceSettings
from alignment.world import World
from alignment.world.settings import WorldSettings
from alignment.text.tokenizer import Tokenizer
from alignment.batch.steps import Steps
from alignment.batch.tree import Tree, make_batch
from alignment.text.chat import render_dialogue

path, model = sys.argv[1:]
world = World(WorldSettings(size="seconds", biographies_per_person=2))
data = DataSettings(
    train=(SourceSettings(path=path, share=0.7), SourceSettings(world="dialogues", limit=40)), held_out_fraction=0.2
)
loaded = load_dialogues(data, seed=3, quarantine=None, world=world)
tokenizer = Tokenizer.load(model)
rendered = [(render_dialogue(d, tokenizer), str(d.source)) for d in loaded.train]
trees = [Tree.sequence(r.token_ids, r.trained, row=row) for r, row in rendered if len(r.token_ids) <= 192]
steps = Steps(trees, make_batch, capacity=192, unit="items", batch_size=2, epochs=2.0, seed=3, name="sft")
packs = Steps(trees, make_batch, capacity=192, unit="bins", batch_size=2, epochs=2.0, seed=3, name="pretrain")
annotated = DataSettings(train=(SourceSettings(world="preferences/safety"),))
pairs = load_preferences(annotated, seed=3, quarantine=None, world=world)
prompts = load_prompts(data, seed=3, quarantine=None, world=world).train
print(json.dumps({
    "train": [d.id for d in loaded.train],
    "held out": [d.id for d in loaded.held_out],
    "steps": [[batch.rows for batch in steps(step)] for step in range(steps.num_steps)],
    "packs": [[batch.rows for batch in packs(step)] for step in range(packs.num_steps)],
    "pairs": [str(p.source) for p in pairs.train],
    "prompts": [p.id for p in prompts],
}))
"""


def test_the_order_does_not_depend_on_pythons_hash_seed(policy: Policy, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"question": f"what is {n}?", "answer": f"it is {n}"}) + "\n" for n in range(80))
    )
    policy.tokenizer.save(tmp_path)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _PIPELINE, str(rows), str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "random")
    ]
    found = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert found[0] == found[1] == found[2]
    assert all(found[0].values())


def _steps() -> Steps[Tree, ForestBatch]:
    trees = [
        Tree.sequence((np.arange(5, 15) + i).tolist(), [True] * 10, row=f"rows.jsonl:{i + 1}") for i in range(NUM_TREES)
    ]
    return Steps(
        trees, make_batch, capacity=10, unit="items", batch_size=FORESTS, epochs=float(EPOCHS), seed=0, name="n"
    )


class Log:
    """The language loss that writes down the rows of every forest it is given."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def __call__(self, model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
        self.rows += batch.rows
        return language_loss(model, batch)


def logged(policy: Policy, session: Session, log: Log) -> None:
    """Train to the end or to the session's stop."""
    steps = _steps()
    settings = LoopSettings(optimizer=OptimizerSettings(learning_rate=1e-3), save_every=1)
    training = Training(model=policy.model, num_steps=steps.num_steps, batches=steps, loss=log, normaliser=num_targets)
    train(training, settings, session)


class StopEachStep(Silent):
    """Asks to stop after every step."""

    def __init__(self, stop: StopFlag) -> None:
        self.stop = stop

    def step(self, done: int, metrics: Any) -> None:
        if metrics:
            self.stop.request(15)


def _session(folder: Path, **rest: Any) -> Session:
    folder.mkdir(exist_ok=True)
    return Session(folder=folder, fingerprint="f", compute=ComputeSettings(precision="fp32", threads=1), **rest)


def test_a_training_stopped_and_resumed_at_every_batch_takes_the_same_rows(policy: Policy, tmp_path: Path) -> None:
    whole, pieces = Log(), Log()
    logged(policy, _session(tmp_path / "whole"), whole)
    stops = 0
    while True:
        stop = StopFlag()
        try:
            logged(policy, _session(tmp_path / "pieces", stop=stop, progress=StopEachStep(stop)), pieces)
            break
        except Interrupted:
            stops += 1
    assert stops == _steps().num_steps - 1
    assert pieces.rows == whole.rows
    assert len(whole.rows) == EPOCHS * NUM_TREES


def test_each_epoch_takes_every_row_once_in_an_order_of_its_own(policy: Policy, tmp_path: Path) -> None:
    log = Log()
    logged(policy, _session(tmp_path / "run"), log)
    epochs = [log.rows[at : at + NUM_TREES] for at in range(0, len(log.rows), NUM_TREES)]
    assert len(epochs) == EPOCHS
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == NUM_TREES for epoch in epochs)
    assert epochs[0] != epochs[1]


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(100)
            work()
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_ranks_take_together_what_one_takes(policy: Policy, tmp_path: Path) -> None:
    """The global batch is the same, so each step's rows are; the last step has fewer forests than there are ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rank(number: int | None) -> Callable[[], None]:
        def work() -> None:
            if number is not None:
                os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
                os.environ.update(MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
                AcceleratorState._reset_state(reset_partial_state=True)  # earlier tests trained alone in this process
                GradientState._reset_state()
            log = StepLog()
            logged(policy, _session(tmp_path / ("one" if number is None else "two"), progress=log), log)
            (tmp_path / f"rank-{number}.json").write_text(json.dumps(log.steps))

        return work

    children = [_forked(rank(number)) for number in (None, 0, 1)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    one, first, second = (json.loads((tmp_path / f"rank-{n}.json").read_text()) for n in (None, 0, 1))
    assert len(one) == len(first) == len(second) == _steps().num_steps
    for step, rows in enumerate(one):
        assert first[step] == rows[::2]
        assert second[step] == (rows[1::2] or rows[:1])  # with nothing of its own it sends zeros for the first


class StepLog(Log, Silent):
    """Rows by step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[str]] = []

    def step(self, done: int, metrics: Any) -> None:
        if metrics:
            self.steps.append(self.rows)
            self.rows = []
