"""What a run shows: a live display on a terminal, plain lines elsewhere, nothing when quiet.  No torch.

Everything shown is masked (secrets) and escaped (control characters) here, in one place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alignment.train.session import Progress, Silent
from recipes.masking import safe

LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal
_SHOWN_METRICS = 4


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
        count = f"{self.done:,}" + (f"/{self.total:,}" if self.total is not None else "")
        left = self.seconds_left
        return f"{count} {self.unit}" + (f", {duration(left)} left" if left is not None else "")


class _Reporter:
    """A stage's Progress that redraws through a callable."""

    def __init__(self, changed: Callable[[bool], None], say: Callable[[str], None]) -> None:
        self._changed, self._say = changed, say
        self.pace: Pace | None = None
        self.metrics: dict[str, float] = {}

    def begin(self, total_steps: int | None, unit: str) -> None:
        self.pace, self.metrics = Pace(total_steps, safe(unit)), {}
        self._changed(True)

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        if self.pace is None:
            self.pace = Pace(None, "steps")
        self.pace.step(done)
        self.metrics.update({safe(str(name)): value for name, value in metrics.items()})
        self._changed(False)

    def note(self, text: str) -> None:
        self._say(safe(text))

    def end(self) -> None:
        self._changed(True)
        self.pace = None

    def state(self) -> str:
        """One line: how far, and the newest figures."""
        if self.pace is None:
            return "working"
        figures = " ".join(f"{name} {figure(value)}" for name, value in list(self.metrics.items())[:_SHOWN_METRICS])
        return f"{self.pace}" + (f"  {figures}" if figures else "")


class Lines:
    """Plain lines for files, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = float("-inf")

    def line(self, text: str) -> None:
        self._console.print(Text(safe(text)), soft_wrap=True)

    def stage_begins(self, name: str, position: int, total: int, *, resumed: bool) -> Progress:
        self.line(f"[{position}/{total}] {name}: {'goes on' if resumed else 'starts'}")
        self._last = time.monotonic()

        def changed(edge: bool) -> None:
            if time.monotonic() - self._last >= LINE_EVERY:
                self._last = time.monotonic()
                self.line(f"[{position}/{total}] {name}: {reporter.state()}")

        reporter = _Reporter(changed, lambda text: self.line(f"[{position}/{total}] {name}: {text}"))
        return reporter

    def stage_ends(self, name: str, status: str, seconds: float, note: str) -> None:
        self.line(f"{name}: {status} after {duration(seconds)}" + (f"; {note}" if note else ""))

    def close(self) -> None: ...


class Moving:
    """A live display: finished stages above, the current one moving, with its time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._stage = ("", 0, 0, 0.0)
        self._reporter: _Reporter | None = None
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        self._console.print(Text(safe(text)), soft_wrap=True)

    def stage_begins(self, name: str, position: int, total: int, *, resumed: bool) -> Progress:
        self._stage = (name, position, total, time.monotonic())
        reporter = self._reporter = _Reporter(lambda edge: None, lambda text: self.line(f"  {name}: {text}"))
        if self._live is None:
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return reporter

    def stage_ends(self, name: str, status: str, seconds: float, note: str) -> None:
        mark = {"finished": ("✓", "green"), "interrupted": ("‖", "yellow")}.get(status, ("✗", "red"))
        text = Text.assemble(mark, f" {safe(name)}  ", (f"{duration(seconds)}  ", "dim"), safe(note))
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _picture(self) -> Table:
        name, position, total, since = self._stage
        table = Table.grid(padding=(0, 1))
        state = self._reporter.state() if self._reporter else ""
        now = time.monotonic()
        bar = ""
        pace = self._reporter.pace if self._reporter else None
        if pace is not None and pace.total:
            filled = min(20, 20 * pace.done // pace.total)
            bar = "━" * filled + "─" * (20 - filled)
        table.add_row(Text("▸", "cyan"), Text(safe(name), "bold"), Text(bar, "cyan"), Text(state))
        table.add_row(
            "", Text(f"stage {position} of {total}, {duration(now - since)}; run {duration(now - self._began)}", "dim")
        )
        return table


def make_display(console: Console, *, quiet: bool) -> Display:
    """Live on a terminal, lines in a pipe or in CI (the variable CI), nothing when quiet."""
    if quiet:
        return Quiet()
    if console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI"):
        return Moving(console)
    return Lines(console)


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
