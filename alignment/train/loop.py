"""The loop under every training: resume, log, count what is not finite, save, stop, end.  The body does the rest.

    with Loop(session, settings, num_steps=100, unit="steps", saved={"model": SavedModel(model)}) as loop:
        for step in loop:
            loop.log({"loss": …})

A step's work must depend on nothing but its number and on what is saved: then a resumed run takes the very same
steps.  Of several processes each takes all steps, and the main one writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

from alignment.errors import CheckpointError
from alignment.store.journal import Journal
from alignment.train.checkpoints import Checkpoints, Gathered, Part, Saved, Sharded
from alignment.train.compute import from_all, is_main_process, wait_for_all
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.session import Session
from alignment.train.settings import CadenceSettings

_OWN_STATE = ("metrics_rows", "skipped")  # what the loop adds to state.json


class Loop:
    """Steps of one stage, from the newest verified checkpoint to the last.

    Args:
        session: the stage's folder, progress display and stop flag.
        cadence: how often to save, how many checkpoints to keep, how many updates may be skipped.
        num_steps: steps of the whole stage.
        unit: what a step is called where people watch.
        saved: what a checkpoint holds, by the name of its file.
        log_every: steps between rows of `metrics.jsonl`.

    Attributes:
        done: steps done, the one in hand included.
        fresh: whether it starts at the first step.

    Raises:
        CheckpointError: the processes find different checkpoints.
        NonFiniteError: a step is not finite and no skip is left.
        Interrupted: a signal came; the step was finished and saved.
        DiskFull: a checkpoint did not fit; the older ones stand.
        RunLocked: the folder's lock was taken away; nothing more is written.
    """

    def __init__(
        self,
        session: Session,
        cadence: CadenceSettings,
        *,
        num_steps: int,
        unit: str,
        saved: Mapping[str, Part],
        log_every: int = 1,
    ) -> None:
        self.session, self.cadence, self.num_steps, self.unit = session, cadence, num_steps, unit
        self.saved, self.log_every = saved, log_every
        self.done, self.fresh = 0, True
        self._ended = False
        self._figures: dict[str, float] = {}
        self._before = 0  # updates skipped before the step in hand
        self._checkpoints = Checkpoints(
            session.folder / "checkpoints",
            fingerprint=session.fingerprint,
            keep=cadence.keep_checkpoints,
            say=session.progress.note,
        )
        self._nonfinite = NonFiniteSteps(session.folder, allowed=cadence.nonfinite_skips, writes=is_main_process())
        self._journal: Journal | None = None

    def __enter__(self) -> Self:
        """Bring everything to where the newest verified checkpoint has it; rows of later steps are taken back."""
        if is_main_process():
            self._journal = Journal(self.session.folder / "metrics.jsonl")
        try:
            self._resume()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if kind is None:
            self._nonfinite.finish()
            self.session.progress.end()

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps to do, from 0."""
        while self.done < self.num_steps and not self._ended:
            self._figures, self._before = {}, len(self._nonfinite.skipped)
            self.done += 1
            yield self.done - 1
            self._finish_step()

    def log(self, figures: Mapping[str, float]) -> None:
        """Add figures to the row of the step in hand; of one name the last counts."""
        self._figures |= figures

    def due(self, every: int) -> bool:
        """Whether something done every so many steps is due at the end of this one; the last step is always due."""
        return self.done == self.num_steps or _divides(every, self.done)

    def skip(self, quantity: str, value: float | str, rows: Sequence[str]) -> None:
        """Count an update of this step that must not be made because something is NaN or infinite.

        Raises:
            NonFiniteError: as many were skipped as is allowed.
        """
        self._nonfinite.refuse(quantity, str(value), step=self.done, rows=rows)

    def refuse(self, quantity: str, value: float | str, rows: Sequence[str]) -> NoReturn:
        """Stop, whatever may be skipped: for what no skip can mend.

        Raises:
            NonFiniteError: always.
        """
        self._nonfinite.stop(quantity, str(value), step=self.done, rows=rows)

    @property
    def num_skipped(self) -> int:
        """Updates left out so far, those of earlier attempts included."""
        return len(self._nonfinite.skipped)

    def end(self) -> None:
        """Let the step in hand be the last (before the first: none is done)."""
        self._ended = True

    def _resume(self) -> None:
        resumed = self._checkpoints.newest()
        if resumed is not None:
            own = {name: resumed.state[name] for name in _OWN_STATE}
            values = {name: value for name, value in resumed.state.items() if name not in own}
            resumed.put_back(self.saved, values)
            self.done, self.fresh = resumed.step, False
            self._nonfinite.skipped = list(own["skipped"])
            self.session.progress.note(f"goes on after {_singular(self.unit)} {self.done} of {self.num_steps}")
        if self._journal is not None:
            self._journal.rewind(resumed.state["metrics_rows"] if resumed is not None else 0)
        found = [int(done) for done in from_all(self.done)]
        if len(set(found)) > 1:
            raise CheckpointError(
                f"the processes would go on after different {self.unit}, {found}; the run folder must be one that all "
                f"of them see"
            )
        self.session.progress.begin(self.num_steps, self.unit)
        self.session.progress.step(self.done, {})

    def _finish_step(self) -> None:
        skipped = self.num_skipped > self._before
        figures = self._figures
        if skipped:  # what could not be used is told by no number
            figures = {name: value for name, value in figures.items() if math.isfinite(value)}
            figures["skipped"] = self.num_skipped
        over = self._ended or self.done == self.num_steps
        if self._journal is not None and (over or skipped or _divides(self.log_every, self.done)):
            self._journal.append({"step": self.done, **figures}, flush=False)
        shown = {name: value for name, value in figures.items() if not name.startswith("time_")}
        self.session.progress.step(self.done, shown)
        stop = self._anyone_stops()
        if stop or over or _divides(self.cadence.save_every, self.done):
            self._save()
            if stop and not over:
                self._close()
                self.session.stop.check(self.done)

    def _save(self) -> None:
        sharded = {name: part for name, part in self.saved.items() if isinstance(part, Sharded)}
        for part in self.saved.values():
            if isinstance(part, Gathered):
                part.gather()
        if self._journal is None:
            self._checkpoints.join(sharded)
        else:
            self.session.before_save()
            self._journal.append_all([])  # what the checkpoint counts must be on the disk before it
            values = {name: value for part in self.saved.values() for name, value in part.values().items()}
            own = {"metrics_rows": len(self._journal.records), "skipped": self._nonfinite.skipped}
            tensors = {name: part.tensors() for name, part in self.saved.items() if isinstance(part, Saved)}
            self._checkpoints.save(self.done, tensors=tensors, state=values | own, sharded=sharded)
        wait_for_all()  # a process that left now would make its launcher end the one that saves

    def _anyone_stops(self) -> bool:
        """Whether any process was asked to stop: a signal reaches them at different steps, all must stop at one."""
        stop = self.session.stop
        signal_number = int(max(from_all(stop.signal_number or 0)))
        if signal_number and not stop.requested:
            stop.request(signal_number)
        return signal_number > 0

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def finish(session: Session) -> None:
    """Remove the training checkpoints once the stage's result stands; all processes leave together."""
    if is_main_process():
        Checkpoints(session.folder / "checkpoints", fingerprint="", keep=1, say=session.progress.note).clear()
    wait_for_all()


def _divides(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _singular(unit: str) -> str:
    return unit.removesuffix("s")
