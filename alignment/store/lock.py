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
            holder = os.read(self._handle, 4096).decode(errors="replace")
            os.close(self._handle)
            raise RunLocked(f"{self.path.parent} is in use by {_holder(holder)}; wait for it or stop it") from None
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
        os.close(self._handle)  # the kernel drops the lock with the last handle


def _holder(text: str) -> str:
    try:
        who = json.loads(text)
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process (it has not said which yet)"
