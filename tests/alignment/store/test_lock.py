"""One process works on a run folder; the others learn who it is; a killed one frees it (R9)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignment.errors import RunLocked
from alignment.store.lock import NAME, RunLock

_CHILD = """
import sys
from pathlib import Path
from alignment.errors import RunLocked
from alignment.store.lock import RunLock
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunLock(folder):
        print("works", flush=True)
        sys.stdin.readline()
except RunLocked as error:
    print(f"refused {error}", flush=True)
"""


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def test_of_eight_processes_exactly_one_works_and_the_others_name_it(tmp_path: Path) -> None:
    children = [_start(tmp_path) for _ in range(8)]
    try:
        assert [_line(child) for child in children] == ["ready"] * 8
        began = time.monotonic()
        for child in children:
            _go(child)
        said = [_line(child) for child in children]
        assert time.monotonic() - began < 2.0
        workers = [child for child, line in zip(children, said, strict=True) if line == "works"]
        assert len(workers) == 1
        for line in said:
            if line != "works":
                assert re.search(rf"process {workers[0].pid} on \S+ since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line)
    finally:
        for child in children:
            child.kill()
            child.wait()
    with RunLock(tmp_path):
        pass  # the holder was killed: no stale lock


def test_ten_killed_holders_each_free_the_folder_at_once(tmp_path: Path) -> None:
    for _ in range(10):
        handle = os.fork()
        if handle == 0:  # the child holds the lock until it is killed
            RunLock(tmp_path).__enter__()
            (tmp_path / "held").touch()
            signal.pause()
        while not (tmp_path / "held").exists():
            time.sleep(0.001)
        with pytest.raises(RunLocked, match=f"process {handle} on"), RunLock(tmp_path):
            pass
        os.kill(handle, signal.SIGKILL)
        os.waitpid(handle, 0)
        (tmp_path / "held").unlink()
        with RunLock(tmp_path):
            pass


def test_a_dead_holders_name_is_not_given_as_the_one_who_works(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with RunLock(tmp_path):
        (tmp_path / NAME).write_text(f'{{"pid": {dead.pid}, "host": "{os.uname().nodename}", "since": "then"}}')
        with pytest.raises(RunLocked) as caught, RunLock(tmp_path):
            pass
    assert str(dead.pid) not in str(caught.value)


def test_a_released_folder_can_be_taken_again_and_names_nobody(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / NAME).read_text()
    assert (tmp_path / NAME).read_text() == ""
    with RunLock(tmp_path):
        pass
