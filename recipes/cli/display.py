"""What a run shows: a live display on a terminal, plain lines elsewhere, nothing when quiet.  No torch.

Everything shown is masked (secrets) and escaped (control characters) here, in one place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alignment.train.session import Progress
from recipes.masking import safe
from recipes.running.telling import Display, Pace, Quiet, duration, figure

LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal
_SHOWN_METRICS = 4


class _Reporter:
    """A stage's Progress that redraws through a callable."""

    def __init__(self, changed: Callable[[bool], None], say: Callable[[str], None]) -> None:
        self._changed, self._say = changed, say
        self.pace: Pace | None = None
        self.metrics: dict[str, float] = {}
        self._announced = False  # whether the stretch has said where it starts: a resumed one not at 0

    def begin(self, total_steps: int | None, unit: str) -> None:
        self.pace, self.metrics, self._announced = Pace(total_steps, safe(unit)), {}, False

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        if self.pace is None:
            self.pace = Pace(None, "steps")
        self.pace.step(done)
        self.metrics.update({safe(str(name)): value for name, value in metrics.items()})
        announces, self._announced = not self._announced and not metrics, True
        if not announces:  # where it starts is told by its note
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
