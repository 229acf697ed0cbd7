"""Write events: every moment in which a process changes what lies below a folder, numbered, to act at one of them.

Watched are Python's file opens for writing, fsync, rename, unlink, rmdir and mkdir (audit hooks, which see
libraries too), weights written by safetensors, and lines appended to a journal.  Hooks cannot be removed:
call `watch` in a forked child only.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from alignment.store.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = tuple(str(ROOT / name) for name in ("alignment", "reward", "rl", "gatt", "recipes"))
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEEDS_SPACE = ("open", "fsync", "mkdir", "weights", "append")


@dataclass(frozen=True)
class Event:
    """One write event.

    Attributes:
        number: from 1, in order.
        kind: open, fsync, rename, unlink, rmdir, mkdir, weights, append.
        name: the file or folder, relative to the watched one.
        site: where in our packages it was asked for, innermost first.
    """

    number: int
    kind: str
    name: str
    site: tuple[str, ...]


# told the event and a function that does half of it (a torn write); raises or kills to inject a fault
Act = Callable[[Event, Callable[[], None]], None]


def watch(folder: Path, act: Act) -> None:
    """Call `act` before every write event below `folder`, from now on, in this process."""
    root = str(folder.resolve())
    count = 0
    inside = False

    def happened(kind: str, path: str, torn: Callable[[], None] = lambda: None) -> None:
        nonlocal count, inside
        if inside or not path.startswith(root):
            return
        inside = True  # what the act itself does is no event
        try:
            count += 1
            act(Event(count, kind, os.path.relpath(path, root), _site()), torn)
        finally:
            inside = False

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if inside:
            return
        if name == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes | os.PathLike) and isinstance(flags, int) and flags & _WRITING:
                happened("open", _absolute(path))
        elif name == "os.rename":
            happened("rename", _absolute(arguments[0], arguments[2]))
        elif name in ("os.remove", "os.rmdir"):
            happened("unlink" if name == "os.remove" else "rmdir", _absolute(arguments[0], arguments[1]))
        elif name == "os.mkdir":
            happened("mkdir", _absolute(arguments[0], arguments[2]))

    sys.addaudithook(audit)
    _watch_fsync(happened)
    _watch_weights(happened)
    _watch_journals(happened)


def _watch_fsync(happened: Callable[..., None]) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        happened("fsync", _path_of(handle))
        real(handle)

    os.fsync = fsync  # type: ignore[assignment]


def _watch_weights(happened: Callable[..., None]) -> None:
    real = safetensors.torch.serialize_file  # type: ignore[attr-defined]

    def serialize_file(tensors: Any, filename: Any, metadata: Any = None) -> None:
        def torn() -> None:
            real(tensors, filename, metadata)
            os.truncate(filename, os.path.getsize(filename) // 2)  # noqa: PTH202

        happened("weights", _absolute(filename), torn)
        real(tensors, filename, metadata)

    safetensors.torch.serialize_file = serialize_file  # type: ignore[attr-defined]


def _watch_journals(happened: Callable[..., None]) -> None:
    real = Journal.append_all

    def append_all(self: Journal, records: Any, *, flush: bool = True) -> None:
        records = list(records)

        def torn() -> None:
            data = "".join(json.dumps(dict(record)) + "\n" for record in records).encode()
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        if records:
            happened("append", str(self.path.resolve()), torn)
        real(self, records, flush=flush)

    Journal.append_all = append_all  # type: ignore[method-assign]


def no_space(path: str) -> OSError:
    """What the system says when the disk is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _site() -> tuple[str, ...]:
    found = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < 4:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGES):
            found.append(f"{name[len(str(ROOT)) + 1 :]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def _absolute(path: Any, folder: Any = None) -> str:
    text = os.fsdecode(path)
    if os.path.isabs(text):  # noqa: PTH117
        return text
    base = _path_of(folder) if isinstance(folder, int) and folder >= 0 else os.getcwd()  # noqa: PTH109
    return os.path.join(base, text)  # noqa: PTH118


def _path_of(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
    except OSError:
        return ""
