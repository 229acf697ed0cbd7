"""Two processes on half a step's forests each train as one process on all of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from alignment.text.policy import Policy, save_policy
from tests.tolerances import TWO_PROCESSES

torch_distributed = pytest.importorskip("torch.distributed")
pytestmark = pytest.mark.skipif(
    not (torch_distributed.is_available() and torch_distributed.is_gloo_available()),
    reason="this torch has no gloo to talk between processes on a CPU",
)

# two forests a step, and one in the last: fewer than there are processes.  One is told to stop; both go on later.
_CHILD = """
import os, sys
from pathlib import Path
from alignment.errors import Interrupted
from alignment.records import Dialogue, Source, Turn
from alignment.text.policy import load_policy
from alignment.train.session import Session, Silent, StopFlag
from alignment.train.settings import ComputeSettings, OptimizerSettings, SftSettings
from alignment.train.sft import sft

folder, policy_folder, rank = Path(sys.argv[1]), sys.argv[2], os.environ.get("RANK")
dialogues = [
    Dialogue(
        turns=(
            Turn(role="user", content=f"who sells the bread in {1980 + i}?"),
            Turn(role="assistant", content="the baker " * (1 + i % 4) + "sells the bread."),
        ),
        source=Source(file="made", line=i + 1),
        id=f"d{i}",
    )
    for i in range(21)
]
defaults = {n: f.default for n, f in SftSettings.model_fields.items() if not f.is_required()}
changes = {"context_length": 96, "batch_size": 2, "epochs": 1.0, "save_every": 2}
changes["optimizer"] = OptimizerSettings(learning_rate=1e-2, warmup_steps=2)
settings = SftSettings.model_construct(**{**defaults, **changes})

def once(told_to_stop):
    stop = StopFlag()

    class Watch(Silent):
        def step(self, done, metrics):
            if metrics and done == 2 and told_to_stop:
                stop.request(15)

    compute = ComputeSettings(precision="fp32", threads=1)
    session = Session(folder=folder, fingerprint="f", compute=compute, progress=Watch(), stop=stop)
    return sft(load_policy(policy_folder), dialogues, settings, session, dialogues[:2])

if rank is not None:
    try:
        once(told_to_stop=rank == "1")
    except Interrupted as error:
        print(error, (folder / "metrics.jsonl").read_text().count("\\n"), flush=True)
result = once(told_to_stop=False)
print(f"steps {result['steps']} loss {result['loss']}", flush=True)
if rank is not None:
    import torch.distributed
    torch.distributed.destroy_process_group()
"""


def _run(folder: Path, policy: Path, processes: int) -> list[list[str]]:
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        env = dict(os.environ)
        if processes > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        command = [sys.executable, "-c", _CHILD, str(folder), str(policy)]
        children.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    said = []
    try:
        for child in children:
            out, err = child.communicate(timeout=120)
            assert child.returncode == 0, err[-2000:]
            said.append([line for line in out.splitlines() if line.startswith(("stopped", "steps"))])
    finally:
        for child in children:
            child.kill()
    return said


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_equal_one_and_stop_and_resume_together(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "policy")
    assert len(_run(tmp_path / "one", tmp_path / "policy", 1)[0]) == 1
    said = _run(tmp_path / "two", tmp_path / "policy", 2)
    # one of the two was told to stop; both stopped after the same step, and only one had written rows
    assert [lines[0].split(";")[0] for lines in said] == ["stopped by signal 15 after step 2"] * 2
    assert [lines[0].split()[-1] for lines in said] == ["2", "2"]
    assert said[0][1] == said[1][1]
    one, two = _rows(tmp_path / "one"), _rows(tmp_path / "two")
    assert len(one) == len(two) > 3
    assert one[-1]["targets"] < one[0]["targets"]
    for a, b in zip(one, two, strict=True):
        for key in a.keys() - {"time_tokens_per_second"}:
            assert b[key] == pytest.approx(a[key], rel=TWO_PROCESSES, abs=TWO_PROCESSES), (key, a["step"])
    first = load_file(tmp_path / "one" / "checkpoint" / "model.safetensors")
    second = load_file(tmp_path / "two" / "checkpoint" / "model.safetensors")
    start = load_file(tmp_path / "policy" / "model.safetensors")
    assert first.keys() == second.keys()
    moved = 0.0
    for name, value in first.items():
        assert float((value - second[name]).abs().max()) < TWO_PROCESSES, name
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 0.01  # the comparison is of trained weights
    assert not (tmp_path / "two" / "checkpoints").exists()
