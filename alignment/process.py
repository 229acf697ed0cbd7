"""How this process's OpenMP threads wait, and what becomes of its freed memory.  No torch.

A thread that waits for others spins.  On an idle machine that is right: a small model trains nearly twice as fast as
with threads that sleep.  Beside another busy process it is not: the threads spin each other's processors away, to a
twentieth of the speed.  How long libgomp lets them spin can only be said before torch is loaded, and no fixed number is
good for both.

One thing can be changed at any time: with more OpenMP threads than processors every waiting thread spins for a hundred
rounds only, not 300,000 (libgomp's manual, GOMP_SPINCOUNT).  So while other processes want our processors a team of
threads is held that does nothing but sleep.  Results do not depend on it.
"""

from __future__ import annotations

import ctypes
import enum
import logging
import os
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAID_BY = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_SECONDS = 0.5  # between two looks at what other processes do
_CROWDED, _FREE = 0.25, 0.1  # processors that others take beyond those that we leave: hold from the first, let go below
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_log = logging.getLogger("alignment")


class Waiting(enum.Enum):
    """How waiting OpenMP threads spin, and who said so."""

    ALONE = "not: there is one thread"
    SAID = f"as {' or '.join(_SAID_BY)} says"
    WATCHED = "only while no other process wants their processors"
    LONG = "for long, which is slow beside other processes; if there are any, export GOMP_SPINCOUNT=100 first"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Seconds since some beginning.

    Attributes:
        clock: of the wall.
        busy: that the processors worked, for whomever.
        own: that this process worked.
    """

    clock: float
    busy: float
    own: float

    def others_until(self, later: Usage) -> float:
        """How many processors other processes kept busy."""
        return max((later.busy - self.busy) - (later.own - self.own), 0.0) / max(later.clock - self.clock, 1e-6)


class SleepingThreads:
    """A team of OpenMP threads that only sleep; while it is held, no waiting thread of the process spins for long.

    Args:
        libraries: paths of the libgomps that are loaded.
        count: of threads; more than the processors that libgomp knows.

    Raises:
        OSError, AttributeError: one of them is no libgomp.
    """

    def __init__(self, libraries: Sequence[str], count: int) -> None:
        self._starts: list[Any] = [ctypes.CDLL(path).GOMP_parallel for path in libraries]
        self._nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)  # what every thread calls, once
        self._count = count
        self._released: threading.Event | None = None
        self._owner: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether they are there."""
        return self._released is not None

    def hold(self) -> None:
        """Start them; they live as long as the thread that starts them."""
        begun, released = threading.Event(), threading.Event()

        def own() -> None:
            for start in self._starts:
                start(self._nothing, None, ctypes.c_uint(self._count), ctypes.c_uint(0))
            begun.set()
            released.wait()

        self._owner = threading.Thread(target=own, name="alignment-sleeping", daemon=True)
        self._owner.start()
        begun.wait()
        self._released = released

    def release(self) -> None:
        """Let them end."""
        if self._released is not None and self._owner is not None:
            self._released.set()
            self._owner.join()
            self._released = self._owner = None


_settling = threading.Lock()
_waiting: Waiting | None = None


def settle(threads: int) -> Waiting:
    """Get this process ready to compute on the CPU; called wherever training and sampling begin, works once.

    Keeps freed memory, watches what other processes do, and tells the log `alignment` how threads wait: as a warning
    where nothing can be done.

    Args:
        threads: torch's; one alone waits for nobody.
    """
    global _waiting
    with _settling:
        if _waiting is None:
            _keep_freed_memory()
            _waiting = Waiting.ALONE
        if threads > 1 and _waiting is Waiting.ALONE:
            _waiting = Waiting.SAID if any(name in os.environ for name in _SAID_BY) else _watch(threads)
            _log.log(
                logging.WARNING if _waiting is Waiting.LONG and sys.platform == "linux" else logging.INFO,
                "waiting OpenMP threads spin %s",
                _waiting.value,
            )
        return _waiting


def crowded(others: float, processors: int, threads: int, *, already: bool) -> bool:
    """Whether other processes want processors that our threads work on.

    Args:
        others: processors that they keep busy.
        processors: that we may use.
        threads: ours.
        already: whether it was so before; then a little less is enough.
    """
    return others > processors - threads + (_FREE if already else _CROWDED)


def usage(processors: Collection[int]) -> Usage:
    """What was used so far of some processors (`/proc/stat`: user, nice, system, irq, softirq, steal)."""
    busy = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in processors:
            busy += sum(map(int, (*ticks[:3], *ticks[5:8])))
    return Usage(clock=time.monotonic(), busy=busy / os.sysconf("SC_CLK_TCK"), own=time.process_time())


def _watch(threads: int) -> Waiting:
    """Hold sleeping threads from now on, and look every half a second whether they are needed."""
    if sys.platform != "linux":
        return Waiting.LONG
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        libraries = sorted({line.split(maxsplit=5)[-1] for line in maps if "libgomp" in line})
        team = SleepingThreads(libraries, len(os.sched_getaffinity(0)) + 1)
        usage(os.sched_getaffinity(0))
    except (OSError, AttributeError, ValueError):
        return Waiting.LONG
    if not libraries:
        return Waiting.LONG
    team.hold()  # too many for half a second on an idle machine costs less than too few on a busy one

    def look() -> None:
        before = usage(os.sched_getaffinity(0))
        while True:
            time.sleep(_SECONDS)
            processors = os.sched_getaffinity(0)
            now = usage(processors)
            needed = crowded(before.others_until(now), len(processors), threads, already=team.held)
            if needed and not team.held:
                team.hold()
            elif not needed:
                team.release()
            before = now

    threading.Thread(target=look, name="alignment-watching", daemon=True).start()
    return Waiting.WATCHED


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensor, as torch's CUDA allocator does.

    By default every tensor of some MiB is fresh memory of the kernel's, whose pages are zeroed one by one when
    they are first written; on a virtual machine that takes longer than most of what is written.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; other C libraries have none
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)  # its largest; greater tensors still come from the kernel
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
