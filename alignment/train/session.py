"""What every stage is given beside its settings: its folder, seed, progress display and stop flag.  No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from alignment.errors import Interrupted
from alignment.train.settings import ComputeSettings


class Progress(Protocol):
    """Where a stage says how far it is."""

    def begin(self, total_steps: int | None, unit: str) -> None:
        """A stretch of work starts: how many units, None if unknown."""

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """So many units are done; the newest figures."""

    def note(self, text: str) -> None:
        """One line that people should see."""

    def end(self) -> None:
        """The stretch is done."""


class Silent:
    """Shows nothing; the default from Python."""

    def begin(self, total_steps: int | None, unit: str) -> None: ...

    def step(self, done: int, metrics: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...


class StopFlag:
    """Set by a signal handler, looked at between steps."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal_number is not None

    def request(self, signal_number: int) -> None:
        """Ask to stop after the current step."""
        self.signal_number = signal_number

    def check(self, step: int | None = None) -> None:
        """Raise if a stop was asked for; call it where everything is saved.

        Raises:
            Interrupted: with the signal and the step.
        """
        if self.signal_number is not None:
            raise Interrupted(self.signal_number, step=step)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One stage's surroundings.

    Attributes:
        folder: the stage's own folder; it writes nowhere else.
        seed: the run's seed; every draw is named below it.
        fingerprint: identifies settings and inputs; a checkpoint of another fingerprint is not resumed from.
        before_save: called before a checkpoint is written; raises where the folder is not the stage's any more.
    """

    folder: Path
    seed: int = 0
    fingerprint: str = ""
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    progress: Progress = field(default_factory=Silent)
    stop: StopFlag = field(default_factory=StopFlag)
    before_save: Callable[[], None] = lambda: None
