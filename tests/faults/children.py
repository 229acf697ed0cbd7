"""Forked children: heavy imports are paid once, and a child may die as it likes."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (128 + number of the signal that killed it) and all that it printed."""

    code: int
    output: str


def in_child(work: Callable[[], int | None], *, timeout: int = 120) -> Ended:
    """Run `work` in a forked child; its return value is the exit code (None: 0), an exception is 1."""
    with tempfile.TemporaryFile() as told:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _be_child(work, told.fileno(), timeout)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        output = told.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return Ended(code if code >= 0 else 128 - code, output)


def _be_child(work: Callable[[], int | None], told: int, timeout: int) -> None:
    code = 1
    try:
        os.dup2(told, 1)
        os.dup2(told, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout)  # a child that hangs is killed and so reported
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        code = work() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def each_in_child(work: Callable[[Any], Any], items: Sequence[Any], *, jobs: int = 2) -> Iterator[tuple[Any, Any]]:
    """Call `work(item)` in forked children, `jobs` at a time; yields (item, JSON result) as they end.

    Raises:
        RuntimeError: a child died without a result; carries what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        running: dict[int, tuple[Any, Path, Path]] = {}
        waiting = list(enumerate(items))[::-1]
        while waiting or running:
            while waiting and len(running) < jobs:
                number, item = waiting.pop()
                result, told = Path(folder, f"{number}.json"), Path(folder, f"{number}.txt")
                sys.stdout.flush()
                child = os.fork()
                if child == 0:
                    with told.open("wb") as file:
                        _be_child(lambda i=item, r=result: r.write_text(json.dumps(work(i))) and 0, file.fileno(), 600)
                running[child] = (item, result, told)
            child, status = os.waitpid(-1, 0)
            if child not in running:
                continue
            item, result, told = running.pop(child)
            if status or not result.exists():
                raise RuntimeError(f"{item}: {told.read_text(errors='replace')}")
            yield item, json.loads(result.read_text())
