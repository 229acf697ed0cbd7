"""SIGINT and SIGTERM: the first asks to stop after the step, a later one leaves at once.  No torch.

One request may reach a process several times within moments: `make` passes SIGTERM on to its children, which a service
manager or a terminal has sent to the whole group as well.  So what comes within `ONE_REQUEST` seconds of the first is
the same request.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from alignment.train.session import StopFlag

HANDLED = (signal.SIGINT, signal.SIGTERM)
ONE_REQUEST = 2.0  # seconds


@contextmanager
def stopping_at_signals(stop: StopFlag, *, quiet: bool = True) -> Iterator[None]:
    """Let signals set the flag while the block lasts; earlier handlers come back after it.

    In another thread than the main one Python allows no handlers; the block then runs without.

    Args:
        stop: set by the first signal; a signal that comes later than `ONE_REQUEST` after it ends the process.
        quiet: say nothing; else one line on standard error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    first: list[float] = []  # when the first signal came

    def handle(number: int, frame: FrameType | None) -> None:
        if first and time.monotonic() - first[0] < ONE_REQUEST:
            return
        if stop.requested:
            os._exit(128 + number)  # not sys.exit: nothing that hangs may stand in the way
        first.append(time.monotonic())
        stop.request(number)
        if not quiet:
            # written directly: a handler may run inside a print, which must not be entered again
            later = f"once more after {ONE_REQUEST:g} seconds leaves at once"
            text = f"{signal.Signals(number).name}: stopping after this step and saving; {later}\n"
            with suppress(OSError):
                os.write(2, text.encode())

    before = {number: signal.signal(number, handle) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
