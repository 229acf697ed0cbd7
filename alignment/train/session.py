"""What every stage is given beside its settings: its folder, seed, progress display and stop flag.  No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alignment.errors import Interrupted, UsageError
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


@dataclass(frozen=True, init=False)
class Session:
    """One stage's surroundings: `Session("runs/mine/sft")` will do.

    Attributes:
        folder: the stage's own folder; it writes nowhere else.
        seed: the run's seed; every draw is named below it.
        fingerprint: identifies settings and inputs; a checkpoint of another fingerprint is not resumed from.
        before_save: called before a checkpoint is written; raises where the folder is not the stage's any more.
    """

    folder: Path
    seed: int
    fingerprint: str
    compute: ComputeSettings
    progress: Progress
    stop: StopFlag
    before_save: Callable[[], None]

    def __init__(
        self,
        folder: Path | str,
        *,
        seed: int = 0,
        fingerprint: str = "",
        compute: ComputeSettings | None = None,
        progress: Progress | None = None,
        stop: StopFlag | None = None,
        before_save: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the folder where it is not there.

        Raises:
            UsageError: it cannot be made.
        """
        for name, value in {
            "folder": Path(folder),
            "seed": seed,
            "fingerprint": fingerprint,
            "compute": compute or ComputeSettings(),
            "progress": progress or Silent(),
            "stop": stop or StopFlag(),
            "before_save": before_save,
        }.items():
            object.__setattr__(self, name, value)
        if not self.folder.is_dir():
            try:
                self.folder.mkdir(parents=True)
            except OSError as error:
                raise UsageError(f"the session's folder {folder} cannot be made: {error.strerror}") from error
