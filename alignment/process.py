"""What this process says to its OpenMP threads and its memory, once.  No torch.

A thread that waits for others spins: for so long that beside another busy process torch's threads spin each other to a
crawl (25 to 50 times slower on two cores); not at all, and an idle machine loses a third.  libgomp reads how long when
torch loads it, so `import alignment` sets that in the environment where torch is not there yet and nobody has said it.

Where torch was there first, one thing still works: with more OpenMP threads than processors libgomp lets every waiting
thread spin for a hundred rounds only (its manual, GOMP_SPINCOUNT).  So a team of threads that sleeps for good is held.
"""

from __future__ import annotations

import enum
import logging
import os
import sys
import threading
from pathlib import Path

SPIN_VARIABLE, SPIN_COUNT = "GOMP_SPINCOUNT", "1000"
_SAID_BY = (SPIN_VARIABLE, "OMP_WAIT_POLICY")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_log = logging.getLogger("alignment")


class Waiting(enum.Enum):
    """How long waiting OpenMP threads spin, and who said so."""

    SAID = "as the environment says"
    SET = f"for a moment ({SPIN_VARIABLE}={SPIN_COUNT}, set by `import alignment`)"
    HELD = "for a moment (torch was loaded before alignment; sleeping threads are held, so that none spins for long)"
    LONG = f"for long: torch was loaded first; import alignment before it, or export {SPIN_VARIABLE}={SPIN_COUNT}"


_waiting = Waiting.LONG
_settling = threading.Lock()
_settled = False


def set_environment() -> None:
    """Say how long waiting threads spin, where that is still read and nobody has said it."""
    global _waiting
    if any(name in os.environ for name in _SAID_BY):
        _waiting = Waiting.SAID
    elif "torch" not in sys.modules:
        os.environ[SPIN_VARIABLE] = SPIN_COUNT
        _waiting = Waiting.SET


def settle(threads: int) -> Waiting:
    """Get this process ready to compute on the CPU; called wherever training and sampling begin, works once.

    Keeps freed memory, holds sleeping threads where nothing else stops the spinning, and tells the log `alignment` what
    holds: as a warning where neither helped.

    Args:
        threads: torch's; one alone waits for nobody.
    """
    global _waiting, _settled
    with _settling:
        if not _settled:
            _keep_freed_memory()
        if threads > 1 and _waiting is Waiting.LONG and _hold_sleeping_threads():
            _waiting = Waiting.HELD
        if threads > 1 and not _settled:
            told = _log.warning if _waiting is Waiting.LONG and sys.platform == "linux" else _log.info
            told("waiting OpenMP threads spin %s", _waiting.value)
        _settled = _settled or threads > 1
        return _waiting


def _hold_sleeping_threads() -> bool:
    """Start a team of one thread more than there are processors in every libgomp that is loaded, and keep it."""
    import ctypes

    if sys.platform != "linux":
        return False
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    libraries = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "libgomp" in line}
    try:
        parallel = [ctypes.CDLL(path).GOMP_parallel for path in sorted(libraries)]
    except (OSError, AttributeError):
        return False
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)  # what every thread of the team calls, once
    begun = threading.Event()

    def hold() -> None:
        for start in parallel:
            start(nothing, None, ctypes.c_uint(len(os.sched_getaffinity(0)) + 1), ctypes.c_uint(0))
        begun.set()
        threading.Event().wait()  # the team lives as long as the thread that started it

    threading.Thread(target=hold, name="alignment-sleeping-threads", daemon=True).start()
    return bool(parallel) and begun.wait(timeout=10)


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensor, as torch's CUDA allocator does.

    By default every tensor of some MiB is fresh memory of the kernel's, whose pages are zeroed one by one when
    they are first written; on a virtual machine that takes longer than most of what is written.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; other C libraries have none
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)  # its largest; greater tensors still come from the kernel
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
