"""Every way of training on two processes takes one process' steps, and goes on where another way left off."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.store.journal import read_journal
from alignment.train.checkpoints import model_tensors
from tests.alignment.train.launched import STARTS_PROCESSES, free_ports, run_program
from tests.tolerances import TWO_PROCESSES

pytestmark = STARTS_PROCESSES

# One interpreter imports everything once and forks: one process alone, then for each plan two together.  Three forests
# a step, so that one process has a forest less, and fewer in the last.  A plan is a list of (processes,
# compute.parallel, steps after which they are told to stop): each line goes on where the line before was stopped.
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

root, plans, ports = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
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
settings = SftSettings(
    context_length=96, batch_size=3, epochs=1.0, save_every=1, held_out_every=2,
    optimizer=OptimizerSettings(learning_rate=1e-2, warmup_steps=2),
)

def once(folder, parallel, stop_after):
    stop = StopFlag()

    class Watch(Silent):
        def step(self, done, metrics):
            if metrics and done == stop_after:
                stop.request(15)

    compute = ComputeSettings(precision="fp32", threads=1, parallel=parallel)
    session = Session(folder=folder, fingerprint="f", compute=compute, progress=Watch(), stop=stop)
    policy = load_policy(root / "policy")
    sft(policy, dialogues, settings, session, dialogues[:2])
    return policy

def work(name, rank, size, port, parallel, stop_after):
    folder = root / name
    folder.mkdir(exist_ok=True)
    if size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1")
        os.environ.update(MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    try:
        policy = once(folder, parallel, stop_after)
    except Interrupted:
        files = sorted(p.relative_to(folder).as_posix() for p in (folder / "checkpoints").rglob("*") if p.is_file())
        (root / f"stopped-{name}-{stop_after}").write_text("\\n".join(files))
    else:  # the model in memory is the one that was saved, in every process
        saved = load_policy(folder / "checkpoint").model.state_dict()
        own = policy.model.state_dict()
        assert saved.keys() == own.keys() and all(torch.equal(saved[key], own[key]) for key in saved)
    if size > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()

def forked(*arguments):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child

for name, lines in plans.items():
    for size, parallel, stop_after in lines:
        port = ports.pop()
        children = [forked(name, rank, size, port, parallel, stop_after) for rank in range(size)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            sys.exit(f"{name}: {codes}")
"""


def _run(root: Path, plans: dict[str, list[tuple[int, object, int]]]) -> None:
    """Carry out the plans, each in a folder of its own name."""
    ports = free_ports(sum(map(len, plans.values())))
    run_program(_CHILDREN, str(root), json.dumps(plans), json.dumps(ports), seconds=300)


def _assert_equal(root: Path, one: str, other: str) -> None:
    """The same rows and the same weights, which have moved."""
    rows, others = (read_journal(root / name / "metrics.jsonl") for name in (one, other))
    assert len(rows) == len(others) >= 3
    for a, b in zip(rows, others, strict=True):
        assert a.keys() == b.keys()
        for key in a.keys() - {"time_tokens_per_second"}:
            assert b[key] == pytest.approx(a[key], rel=TWO_PROCESSES, abs=TWO_PROCESSES), (other, key, a["step"])
    start, alone, together = (
        model_tensors(load_policy(root / name).model) for name in ("policy", f"{one}/checkpoint", f"{other}/checkpoint")
    )
    assert alone.keys() == together.keys()
    far = max(float((value - together[name]).abs().max()) for name, value in alone.items())
    assert far < TWO_PROCESSES, (other, far)
    assert max(float((value - start[name]).abs().max()) for name, value in alone.items()) > 0.01


def test_shards_of_fsdp2_take_the_plain_steps_and_every_way_goes_on_from_anothers_checkpoint(
    policy: Policy, tmp_path: Path
) -> None:
    save_policy(policy, tmp_path / "policy")
    recomputing = {"kind": "fsdp2", "activation_checkpointing": True}
    plans: dict[str, list[tuple[int, object, int]]] = {
        "one": [(1, "auto", 0)],
        "fsdp2": [(2, "fsdp2", 0)],
        "two-one-two": [(2, recomputing, 1), (1, "fsdp2", 2), (2, "fsdp2", 0)],
        "fsdp2-ddp": [(2, "fsdp2", 1), (2, "ddp", 0)],
    }
    _run(tmp_path, plans)
    for name in ("fsdp2", "two-one-two", "fsdp2-ddp"):
        _assert_equal(tmp_path, "one", name)
    sharded = (tmp_path / "stopped-two-one-two-1").read_text().splitlines()
    assert [path.rpartition("/")[2] for path in sharded if "/model/" in path] == [
        f"shard-0000{i}-model-00001-of-00001.safetensors" for i in (1, 2)
    ]
    assert {path.rpartition(".")[2] for path in sharded} == {"json", "safetensors"}  # no pickle
    assert "checkpoints/step-000002/model.safetensors" in (tmp_path / "stopped-two-one-two-2").read_text()


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="the extra 'deepspeed' is not installed")
def test_deepspeed_takes_the_plain_steps_in_every_stage_and_goes_on_from_plain_files(
    policy: Policy, tmp_path: Path
) -> None:
    save_policy(policy, tmp_path / "policy")
    zero1, zero2, zero3 = ({"kind": "deepspeed", "stage": stage} for stage in (1, 2, 3))
    plans: dict[str, list[tuple[int, object, int]]] = {
        "one": [(1, "auto", 0)],
        "three-two-one": [(2, zero3, 1), (2, zero2, 2), (2, zero1, 0)],
        "fsdp2-three": [(2, "fsdp2", 1), (2, zero3, 0)],
    }
    _run(tmp_path, plans)
    for name in plans.keys() - {"one"}:
        _assert_equal(tmp_path, "one", name)
    assert "checkpoints/step-000001/optimizer.safetensors" in (tmp_path / "stopped-three-two-one-1").read_text()
