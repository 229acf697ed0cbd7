"""A kernel lock on a run folder that says who holds it; it dies with its process.  No torch."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from alignment.errors import RunLocked

NAME = ".lock"


class RunLock:
    """Holds a run folder exclusively while the `with` block lasts.

    Raises:
        RunLocked: another process holds it; the message names its pid, host and since when.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def __enter__(self) -> Self:
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(self._handle)
            os.close(self._handle)
            raise RunLocked(f"{self.path.parent} is in use by {holder}; wait for it or stop it") from None
        who = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(who).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)  # the kernel drops the lock with the last handle


def _holder(handle: int) -> str:
    """Who holds the lock: waits a moment for one that has it but has not written its name yet."""
    for _ in range(50):
        try:
            who = json.loads(os.pread(handle, 4096, 0))
            if who["host"] != socket.gethostname() or _alive(int(who["pid"])):
                return f"process {who['pid']} on {who['host']} since {who['since']}"
        except (ValueError, KeyError, TypeError):
            pass  # not written yet
        time.sleep(0.02)
    return "another process (it has not said which)"


def _alive(pid: int) -> bool:
    """Whether a process of that number exists here; a killed holder leaves its name behind."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
