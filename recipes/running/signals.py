"""SIGINT and SIGTERM: the first asks to stop after the step, the second leaves at once.  No torch."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from alignment.train.session import StopFlag

HANDLED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_at_signals(stop: StopFlag, *, quiet: bool = True) -> Iterator[None]:
    """Let signals set the flag while the block lasts; earlier handlers come back after it.

    In another thread than the main one Python allows no handlers; the block then runs without.

    Args:
        stop: set by the first signal.
        quiet: say nothing; else one line on standard error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            os._exit(128 + number)  # not sys.exit: nothing that hangs may stand in the way
        stop.request(number)
        if not quiet:
            # written directly: a handler may run inside a print, which must not be entered again
            text = f"{signal.Signals(number).name}: stopping after this step and saving; once more leaves at once\n"
            with suppress(OSError):
                os.write(2, text.encode())

    before = {number: signal.signal(number, handle) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
