"""Two processes on half a step's forests each train as one process on all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.store.journal import read_journal
from alignment.train.checkpoints import model_tensors
from tests.alignment.train.launched import STARTS_PROCESSES, free_ports, run_program
from tests.tolerances import TWO_PROCESSES

pytestmark = STARTS_PROCESSES

# Two forests a step, and one in the last: fewer than there are processes.  One of the two is told to stop; both go
# on later.  A fresh interpreter imports everything once and forks the three, before anything ran.
_CHILDREN = """
import json, os, sys, traceback
from pathlib import Path
import torch.distributed
from alignment.errors import Interrupted
from alignment.records import Dialogue, Source, Turn
from alignment.policy.policy import load_policy
from alignment.train.session import Session, Silent, StopFlag
from alignment.train.settings import ComputeSettings, OptimizerSettings, SftSettings
from alignment.train.sft import sft

root, port, adapter = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
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
changes = {"context_length": 96, "batch_size": 2, "epochs": 1.0, "save_every": 2, "adapter": adapter}
changes["optimizer"] = OptimizerSettings(learning_rate=1e-2, warmup_steps=2)
settings = SftSettings(**changes)

def once(folder, told_to_stop):
    stop = StopFlag()

    class Watch(Silent):
        def step(self, done, metrics):
            if metrics and done == 2 and told_to_stop:
                stop.request(15)

    compute = ComputeSettings(precision="fp32", threads=1)
    session = Session(folder=folder, fingerprint="f", compute=compute, progress=Watch(), stop=stop)
    return sft(load_policy(root / "policy"), dialogues, settings, session, dialogues[:2])

def work(name, rank, say):
    folder = root / name
    folder.mkdir(exist_ok=True)
    if rank is not None:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
        os.environ.update(MASTER_PORT=port, GLOO_SOCKET_IFNAME="lo")
        try:
            once(folder, told_to_stop=rank == 1)
        except Interrupted as error:
            print(error, (folder / "metrics.jsonl").read_text().count("\\n"), file=say)
    result = once(folder, told_to_stop=False)
    print(f"steps {result.steps} loss {result.held_out['loss']}", file=say)
    if rank is not None:
        torch.distributed.destroy_process_group()

children = []
for name, rank in (("one", None), ("two", 0), ("two", 1)):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with (root / f"said-{name}-{rank}").open("w") as say:
                work(name, rank, say)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def _run(root: Path, adapter: dict[str, Any] | None) -> dict[str, list[str]]:
    """What each of the three said: alone, and the two together."""
    (port,) = free_ports(1)
    run_program(_CHILDREN, str(root), str(port), json.dumps(adapter), seconds=120)
    return {path.name: path.read_text().splitlines() for path in sorted(root.glob("said-*"))}


def _rows(folder: Path) -> list[dict[str, Any]]:
    return read_journal(folder / "metrics.jsonl")


@pytest.mark.parametrize("adapter", [None, {"dropout": 0.3, "targets": "all-linear"}], ids=["whole", "adapter"])
def test_two_processes_equal_one_and_stop_and_resume_together(
    adapter: dict[str, Any] | None, policy: Policy, tmp_path: Path
) -> None:
    if adapter is not None:
        pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    save_policy(policy, tmp_path / "policy")
    said = _run(tmp_path, adapter)
    assert len(said["said-one-None"]) == 1
    first, second = said["said-two-0"], said["said-two-1"]
    # one of the two was told to stop; both stopped after the same step, and only one had written rows
    assert [lines[0].split(";")[0] for lines in (first, second)] == ["stopped by signal 15 after step 2"] * 2
    assert [lines[0].split()[-1] for lines in (first, second)] == ["2", "2"]
    assert first[1] == second[1]
    one, two = _rows(tmp_path / "one"), _rows(tmp_path / "two")
    assert len(one) == len(two) > 3
    assert one[-1]["targets"] < one[0]["targets"]
    for a, b in zip(one, two, strict=True):
        for key in a.keys() - {"time_tokens_per_second"}:
            assert b[key] == pytest.approx(a[key], rel=TWO_PROCESSES, abs=TWO_PROCESSES), (key, a["step"])
    start, alone, together = (
        model_tensors(load_policy(tmp_path / name).model) for name in ("policy", "one/checkpoint", "two/checkpoint")
    )
    assert alone.keys() == together.keys()
    moved = 0.0
    for name, value in alone.items():
        assert float((value - together[name]).abs().max()) < TWO_PROCESSES, name
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 0.01  # the comparison is of trained weights
    assert not (tmp_path / "two" / "checkpoints").exists()
