"""Several processes of one launch share a run: all train, one keeps the books."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from recipes.running.company import Company, company, launch_note
from recipes.running.record import read_record
from tests.tiny_recipe import TINY
from tests.tolerances import TWO_PROCESSES

ALIGN = [sys.executable, "-m", "recipes.cli"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "recipes.cli"]


def test_a_process_that_nobody_launched_is_alone_and_keeps_the_books() -> None:
    assert company({"RANK": "1", "WORLD_SIZE": "2"}) == Company()
    assert Company().keeps_books


def test_the_first_process_of_a_launch_keeps_the_books() -> None:
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert company({"RANK": "0", **launched}).keeps_books
    assert not company({"RANK": "1", **launched}).keeps_books


def test_a_launch_that_started_one_process_is_told() -> None:
    accelerate_on_a_cpu = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    assert "accelerate was asked for several processes and has started one" in str(
        launch_note("auto", accelerate_on_a_cpu)
    )
    assert "compute.parallel is fsdp2, and one process works" in str(launch_note("fsdp2", {}))
    assert launch_note("auto", {}) is None
    assert launch_note("fsdp2", {**accelerate_on_a_cpu, "RANK": "0", "WORLD_SIZE": "2"}) is None


@pytest.mark.slow  # starts processes
def test_two_processes_train_a_run_as_one_does_and_are_told_what_they_cannot_share(tmp_path: Path) -> None:
    environ = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}

    def align(command: list[str], verb: str, folder: str) -> subprocess.CompletedProcess[str]:
        full = [*command, verb, "quickstart", *TINY, "sft.batch_size=2", "--out", str(tmp_path / folder)]
        return subprocess.run(full, env=environ, capture_output=True, text=True, timeout=200, check=False)

    for command, folder in ((ALIGN, "one"), (LAUNCH, "two")):
        done = align(command, "sft", folder)
        assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("02-pretrain", "03-sft"):
        one, two = (load_file(tmp_path / run / stage / "checkpoint" / "model.safetensors") for run in ("one", "two"))
        assert max(float((one[name] - two[name]).abs().max()) for name in one) < TWO_PROCESSES
        record = read_record(tmp_path / "two" / stage)
        assert record is not None
        assert (record.status, record.attempts) == ("finished", 1)
    refused = align(LAUNCH, "rejection", "two")
    assert refused.returncode != 0
    assert "stage rlhf-v1: it cannot be shared by several yet; 2 processes were launched" in refused.stderr
    assert not (tmp_path / "two" / "04-reward-helpfulness").exists()
