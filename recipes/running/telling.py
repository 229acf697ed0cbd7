"""What a run tells while it works, and how times and figures read.  No torch.

`Display` is told; what shows it on a terminal stands in `recipes/cli/display.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from alignment.train.session import Progress, Silent
from recipes.masking import safe


class Display(Protocol):
    """What the runner tells while it walks the plan."""

    def line(self, text: str) -> None:
        """One line, above whatever moves."""

    def stage_begins(self, name: str, position: int, total: int, *, resumed: bool) -> Progress:
        """A stage starts or goes on; returns where it reports its steps."""

    def stage_ends(self, name: str, status: str, seconds: float, note: str) -> None:
        """A stage is over, by whatever status."""

    def close(self) -> None:
        """Nothing comes after."""


class Quiet:
    """Shows nothing (errors are the caller's)."""

    def line(self, text: str) -> None: ...

    def stage_begins(self, name: str, position: int, total: int, *, resumed: bool) -> Progress:
        return Silent()

    def stage_ends(self, name: str, status: str, seconds: float, note: str) -> None: ...

    def close(self) -> None: ...


class Pace:
    """Steps done, speed and time left of one stretch of work; the clock is monotonic.

    The first report's `done` may be more than one (a resumed stage): only what came after counts.
    """

    def __init__(self, total: int | None, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self._clock, self._began = clock, clock()
        self._first: tuple[int, float] | None = None

    def step(self, done: int) -> None:
        """So many are done."""
        self.done = done
        if self._first is None or done < self._first[0]:
            self._first = (done, self._clock())

    @property
    def seconds(self) -> float:
        """Since the stretch began."""
        return self._clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None while that is unknown."""
        if self.total is None or self._first is None:
            return None
        first, since = self._first
        if self.done <= first:
            return None
        pace = (self._clock() - since) / (self.done - first)
        return max(self.total - self.done, 0) * pace

    def __str__(self) -> str:
        return far(self.done, self.total, self.unit, self.seconds_left)


def far(done: int, total: int | None, unit: str, seconds_left: float | None) -> str:
    """`1,204/2,147 steps, 3 min 05 s left`."""
    count = f"{done:,}" + (f"/{total:,}" if total is not None else "")
    return f"{count} {unit}" + (f", {duration(seconds_left)} left" if seconds_left is not None else "")


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def figure(value: object) -> str:
    """A number for a narrow place."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return safe(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"
