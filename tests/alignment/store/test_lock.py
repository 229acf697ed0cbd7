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

from alignment.errors import RunLocked, UsageError
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


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_file_linked_as_the_lock_is_refused_and_stays_as_it_is(tmp_path: Path, link: str) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("what I wrote down")
    run = tmp_path / "run"
    run.mkdir()
    getattr(run / NAME, link)(mine)
    with pytest.raises(UsageError, match=r"\.lock is .*move it away"), RunLock(run):
        pass
    assert mine.read_text() == "what I wrote down"


def test_a_dangling_link_as_the_lock_makes_no_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / NAME).symlink_to(tmp_path / "nothing-there")
    with pytest.raises(UsageError, match="is a symbolic link"), RunLock(run):
        pass
    assert not (tmp_path / "nothing-there").exists()


def test_somebodys_file_under_the_locks_name_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("not a lock")
    with pytest.raises(UsageError, match="10 bytes that is no lock"), RunLock(tmp_path):
        pass
    assert (tmp_path / NAME).read_text() == "not a lock"


def test_a_pipe_or_a_folder_as_the_lock_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(UsageError, match="is a pipe"), RunLock(tmp_path):
        pass
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with pytest.raises(UsageError, match="is a folder"), RunLock(tmp_path):
        pass


@pytest.mark.parametrize("left", ["", '{"pid": 12, "ho', '{"p', "\0\0\0"])
def test_what_a_crash_left_in_the_lock_does_not_stop_the_next_one(tmp_path: Path, left: str) -> None:
    (tmp_path / NAME).write_text(left)
    with RunLock(tmp_path) as lock:
        assert lock.still_held()


def test_a_lock_whose_file_was_removed_knows_that_it_is_lost(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        assert lock.still_held()
        (tmp_path / NAME).unlink()
        assert not lock.still_held()
        with RunLock(tmp_path) as other:  # nothing holds a second process off any more
            assert (other.still_held(), lock.still_held()) == (True, False)


def test_a_file_removed_just_before_it_is_locked_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock, removed = fcntl.flock, []

    def remove_first(handle: int, how: int) -> None:
        if not removed:
            removed.append(handle)
            (tmp_path / NAME).unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with RunLock(tmp_path) as held:
        assert removed
        assert held.still_held()


def test_what_was_put_into_the_lock_meanwhile_is_not_cleared(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        (tmp_path / NAME).write_text("a note")
    assert (tmp_path / NAME).read_text() == "a note"
