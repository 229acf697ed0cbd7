"""How far the stage at work is, kept beside the run for `align stages` in another process.  No torch.

A file that nobody resumes from: written at most every few seconds, gone when the stage ends, and of no weight if it
cannot be written or is left behind by a kill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from alignment.errors import AlignmentError
from alignment.store.atomic import write_json
from alignment.train.session import Progress
from recipes.running.record import read_json
from recipes.running.telling import Pace

NAME = ".progress.json"
EVERY = 2.0  # seconds between two writes, and before the first


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """What the file holds.

    Attributes:
        stage: its folder's name.
        done, total, unit: as the stage says it; no total where it is unknown.
        seconds: since this attempt at the stage began.
        seconds_left: at the pace so far, of this stretch of work; None while it is unknown.
    """

    stage: str
    done: int
    total: int | None
    unit: str
    seconds: float
    seconds_left: float | None


class KeptProgress:
    """A stage's Progress that passes everything on and keeps the newest in the run's folder."""

    def __init__(self, shown: Progress, run: Path, stage: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._path, self._stage, self._clock = shown, run / NAME, stage, clock
        self._began = self._wrote = clock()
        self._pace: Pace | None = None

    def begin(self, total_steps: int | None, unit: str) -> None:
        self._pace = Pace(total_steps, unit, self._clock)
        self._shown.begin(total_steps, unit)

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        if self._pace is None:
            self._pace = Pace(None, "steps", self._clock)
        self._pace.step(done)
        self._keep(self._pace)
        self._shown.step(done, metrics)

    def note(self, text: str) -> None:
        self._shown.note(text)

    def end(self) -> None:
        self._shown.end()

    def close(self) -> None:
        """The stage is over, however it ended."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _keep(self, pace: Pace) -> None:
        now = self._clock()
        if now - self._wrote < EVERY:
            return
        self._wrote = now
        kept = StageProgress(
            stage=self._stage,
            done=pace.done,
            total=pace.total,
            unit=pace.unit,
            seconds=now - self._began,
            seconds_left=pace.seconds_left,
        )
        with suppress(OSError, AlignmentError):  # a full disk is told by what must be written
            write_json(self._path, asdict(kept))


def read_progress(run: Path) -> StageProgress | None:
    """How far the stage at work is; None where nothing usable is kept."""
    try:
        kept = StageProgress(**(read_json(run / NAME) or {}))
    except (AlignmentError, TypeError):
        return None
    counts, times = (kept.done, kept.total or 0), (kept.seconds, kept.seconds_left or 0.0)
    usable = all(isinstance(count, int) for count in counts) and all(isinstance(time, (int, float)) for time in times)
    return kept if usable and isinstance(kept.unit, str) else None
