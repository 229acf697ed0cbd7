"""A kernel lock on a run folder that says who holds it; it dies with its process.  No torch."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from alignment.errors import RunLocked, UsageError

NAME = ".lock"
_BEGINS = b'{"pid": '  # what every lock's name begins with
_LONGEST = 4096  # bytes of a lock's file


class RunLock:
    """Holds a run folder exclusively while the `with` block lasts.

    Raises:
        RunLocked: another process holds it; the message names its pid, host and since when.
        UsageError: what stands under the lock's name is no lock (a link, a folder, a pipe, somebody's file); it is
            left as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def __enter__(self) -> Self:
        while True:
            self._handle = self._open()
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = _holder(self._handle)
                os.close(self._handle)
                raise RunLocked(f"{self.path.parent} is in use by {holder}; wait for it or stop it") from None
            if self.still_held():
                break
            os.close(self._handle)  # it was removed between opening and locking: that lock holds nobody off
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
        if _is_ours(self._handle):
            os.ftruncate(self._handle, 0)
        os.close(self._handle)  # the kernel drops the lock with the last handle

    def still_held(self) -> bool:
        """Whether the folder's lock is still this one; False once its file was removed or replaced.

        Another process can then lock the folder too: whoever is about to write asks first.
        """
        try:
            there, mine = os.lstat(self.path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def require(self) -> None:
        """Refuse to write into a folder whose lock is not held any more.

        Raises:
            RunLocked: its file was removed or replaced.
        """
        if not self.still_held():
            raise RunLocked(
                f"{self.path} was removed or replaced while this process worked, so that another one may work there "
                f"too; nothing more was written: stop the other one, if there is one, and start again"
            )

    def _open(self) -> int:
        # a link is not followed (its target is not ours to write), and a pipe does not wait for its other end
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            handle = os.open(self.path, flags, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._no_lock("a symbolic link") from None
            if error.errno in (errno.EISDIR, errno.ENXIO):
                raise self._no_lock("a folder" if error.errno == errno.EISDIR else "a pipe or device") from None
            raise
        facts = os.fstat(handle)
        what = ""
        if not stat.S_ISREG(facts.st_mode):
            what = "a pipe or device"
        elif not _is_ours(handle):
            what = f"a file of {facts.st_size:,} bytes that is no lock"
        if what:
            os.close(handle)
            raise self._no_lock(what)
        return handle

    def _no_lock(self, what: str) -> UsageError:
        return UsageError(f"{self.path} is {what}; a run's lock stands there: move it away, or give another folder")


def _is_ours(handle: int) -> bool:
    """Whether a file holds nothing, or (the beginning of) a lock's name; a crash may leave zero bytes."""
    data = os.pread(handle, _LONGEST, 0).rstrip(b"\0")
    return len(data) < _LONGEST and (data.startswith(_BEGINS) or _BEGINS.startswith(data))


def _holder(handle: int) -> str:
    """Who holds the lock: waits a moment for one that has it but has not written its name yet."""
    for _ in range(50):
        try:
            who = json.loads(os.pread(handle, _LONGEST, 0))
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
