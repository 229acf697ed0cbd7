"""Walks a recipe's plan: skips what is finished, resumes what was interrupted, refuses what changed.

One process at a time works on a run (a kernel lock).  A stage's record is written before it starts and
after it ends, atomically; whatever happens between, the next start goes on from there.  No torch
unless there is work to do.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from alignment.errors import AlignmentError, CheckpointUnavailable, DiskFull, Interrupted, UsageError
from alignment.store.atomic import clear_leftovers, write_text
from alignment.store.lock import RunLock
from alignment.train.session import Session, StopFlag
from alignment.train.settings import ComputeSettings
from alignment.train.tracking import Tracked, require_loggers
from recipes.load import check_recipe
from recipes.masking import mask, mask_private, mask_values
from recipes.plan import find_stages, needed_for, stages_of
from recipes.reading.schema import Recipe
from recipes.reading.written import recipe_yaml
from recipes.running import folder as run_folder
from recipes.running.digests import Digests
from recipes.running.fingerprint import of_this_release
from recipes.running.inputs import check_inputs, with_its_setting
from recipes.running.progress import KeptProgress
from recipes.running.record import StageRecord, Status, outputs_of, read_record, write_record
from recipes.running.shared import take_over
from recipes.running.signals import stopping_at_signals
from recipes.running.survey import Surveyed, check_unchanged, current_basis, survey
from recipes.running.telling import Display, Quiet
from recipes.stages.context import StageContext
from recipes.stages.kind import PlannedStage, StageInputs, Surrounding

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# kind -> what is called in its place
StageTable = Mapping[str, Callable[[StageInputs, StageContext], Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How one stage stands after a run.

    Attributes:
        worked: whether this call ran it (or it was finished before).
    """

    name: str
    worked: bool
    seconds: float
    result: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run came to.

    Attributes:
        folder: the run.
        stages: in order.
        replaced: where `redo` put what fell, if anything did.
    """

    folder: Path
    stages: tuple[StageOutcome, ...]
    replaced: Path | None = None

    @property
    def worked(self) -> bool:
        """Whether any stage was run."""
        return any(stage.worked for stage in self.stages)


def run(
    recipe: Recipe,
    *,
    out: Path | str | None = None,
    redo: bool = False,
    until: str | tuple[str, ...] | None = None,
    stages: StageTable | None = None,
    display: Display | None = None,
    stop: StopFlag | None = None,
    before_work: Callable[[], None] = lambda: None,
    siblings: Sequence[Path] = (),
) -> RunSummary:
    """Bring a run to its end, or to a stage.

    Args:
        out: the run's folder; the recipe's otherwise.
        redo: put aside (never delete) stages whose recipe, data or code changed, and do them again.
        until: a stage's name or kind; only what it needs is run.
        stages: kind -> what is called in place of each kind's own function.
        display: told what happens.
        stop: a flag of the caller's; without one, SIGINT and SIGTERM are handled here.
        before_work: called once before the first stage that runs.
        siblings: other runs, from which stages that rest on the same are taken over instead of run.

    Raises:
        UsageError: the folder cannot be a run; there is no such stage.
        RecipeError: input files are missing; all of them, each with its place in the recipe.
        RunLocked: another process works on it.
        RunChanged: finished or begun work rests on something else than what is asked now.
        MissingExtra: a logger's package is not installed; said before the first stage that works.
        Interrupted: a signal asked to stop; the same call goes on.
        AlignmentError: whatever stopped a stage; its record says so.
    """
    check_recipe(recipe)
    plan = stages_of(recipe)
    names = (until,) if isinstance(until, str) else (until or ())
    targets = tuple(found for name in names for found in find_stages(plan, name)) or tuple(s.name for s in plan)
    needed = needed_for(plan, targets)
    folder = Path(out) if out is not None else recipe.run_folder
    run_folder.check_run_folder(folder)
    check_inputs(recipe, needed)  # before anything is made
    run_folder.make_run_folder(folder)
    display = display or Quiet()
    handled: AbstractContextManager[None] = nullcontext()
    if stop is None:
        stop = StopFlag()
        handled = stopping_at_signals(stop, quiet=isinstance(display, Quiet))
    with handled:
        try:
            return _locked(recipe, folder, plan, needed, redo, stages, display, stop, before_work, siblings)
        except OSError as error:  # a stage's own are told by the stage
            kind = DiskFull if error.errno in _NO_SPACE else UsageError
            raise kind(f"{mask(str(folder))} cannot be worked in: {error.strerror or error}") from error


def _locked(
    recipe: Recipe,
    folder: Path,
    plan: tuple[PlannedStage, ...],
    needed: tuple[PlannedStage, ...],
    redo: bool,
    stages: StageTable | None,
    display: Display,
    stop: StopFlag,
    before_work: Callable[[], None],
    siblings: Sequence[Path],
) -> RunSummary:
    with RunLock(folder):
        run_folder.check_run_folder(folder)  # it may have become something since
        for name in clear_leftovers(folder):
            display.line(f"removed {name}, left unfinished by an earlier stop")
        digests = Digests()
        surveyed = survey(recipe, folder, plan, needed, digests)
        for name in surveyed.lost:
            display.line(f"{name} is gone; no result rests on it, the page does without")
        replaced = None
        if not redo:
            check_unchanged(surveyed, folder)
        else:
            replaced = run_folder.put_aside(folder, surveyed.fallen_folders)
            if replaced is not None:
                display.line(f"put aside, not deleted: {', '.join(surveyed.fallen)} -> {replaced}")
        run_folder.mark_run(folder, recipe.name)
        _write_if_new(folder / run_folder.RECIPE, recipe_yaml(recipe))
        try:
            outcomes = _walk(recipe, folder, needed, surveyed, digests, stages, display, stop, before_work, siblings)
        finally:
            display.close()
    return RunSummary(folder=folder, stages=outcomes, replaced=replaced)


def _walk(
    recipe: Recipe,
    folder: Path,
    needed: tuple[PlannedStage, ...],
    surveyed: Surveyed,
    digests: Digests,
    stages: StageTable | None,
    display: Display,
    stop: StopFlag,
    before_work: Callable[[], None],
    siblings: Sequence[Path],
) -> tuple[StageOutcome, ...]:
    outcomes: list[StageOutcome] = []
    done: dict[str, str] = {}
    prepared = False
    for position, stage in enumerate(needed, start=1):
        record = surveyed.finished.get(stage.name)
        worked = record is None
        if record is None:
            stop.check()
            basis = current_basis(recipe, stage, done, digests)
            if (taken := take_over(stage, basis[1], folder, siblings)) is not None:
                record, worked = taken[0], False
                display.line(f"{stage.name}: taken over from {mask(taken[1].name)}, which has done the same")
        if record is None:
            if not prepared:
                prepared = True
                require_loggers(recipe.track)
                os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
                if "OMP_WAIT_POLICY" not in os.environ:
                    # read when torch loads: how long a waiting thread spins.  Long (the default), and threads beside
                    # another busy process spin each other to a crawl; not at all, and an idle machine loses a third
                    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
                before_work()
            record = _run_stage(recipe, folder, stage, basis, stages, display, stop, (position, len(needed)))
        done[stage.name] = record.digest
        outcomes.append(StageOutcome(name=stage.name, worked=worked, seconds=record.seconds, result=record.result))
    return tuple(outcomes)


def _run_stage(
    recipe: Recipe,
    run: Path,
    stage: PlannedStage,
    basis: tuple[dict[str, Any], str],
    stages: StageTable | None,
    display: Display,
    stop: StopFlag,
    place: tuple[int, int],
) -> StageRecord:
    folder = run / stage.folder
    earlier = read_record(folder)
    resumed = earlier is not None and of_this_release(earlier.basis, earlier.fingerprint)[1] == basis[1]
    if earlier is not None and resumed:  # its checkpoints carry the fingerprint that it began with
        basis = dict(earlier.basis), earlier.fingerprint
    if earlier is not None and not resumed:  # it began with other settings and made nothing: start clean
        run_folder.put_aside(run, [folder])
    folder.mkdir(exist_ok=True)
    record = StageRecord(
        name=stage.name,
        kind=stage.kind.name,
        status="running",
        fingerprint=basis[1],
        basis=mask_values(basis[0]),
        started=earlier.started if earlier and resumed else run_folder.now(),
        seconds=earlier.seconds if earlier and resumed else 0.0,
        attempts=earlier.attempts + 1 if earlier and resumed else 1,
    )
    write_record(folder, record)
    shown = Tracked(
        recipe.track,
        project=recipe.name,
        folder=run,
        name=f"{run.resolve().name}/{stage.folder}",
        mark=f"{run.resolve().name}-{stage.folder}-{basis[1][:8]}",
        shown=display.stage_begins(stage.name, *place, resumed=resumed),
    )
    progress = KeptProgress(shown, run, stage.folder)
    # a stage that says it rests on neither gets neither
    around = stage.kind.surroundings
    session = Session(
        folder=folder,
        seed=recipe.seed if Surrounding.SEED in around else 0,
        fingerprint=basis[1],
        compute=recipe.compute if Surrounding.COMPUTE in around else ComputeSettings(),
        progress=progress,
        stop=stop,
    )
    context = StageContext(
        stage=stage,
        session=session,
        folders={other.name: run / other.folder for other in stages_of(recipe) if other.name in stage.parents},
        write_page=lambda: _page(run),
    )
    began = time.monotonic()

    def ended(status: Status, **changes: Any) -> StageRecord:
        progress.close()
        shown.close()
        seconds = round(record.seconds + time.monotonic() - began, 3)
        closed = dataclasses.replace(record, status=status, ended=run_folder.now(), seconds=seconds, **changes)
        write_record(folder, closed)
        note = stage.kind.headline(closed.result) if status == "finished" else ""  # an error is told by who raises it
        display.stage_ends(stage.name, status, seconds, note)
        for doubt in stage.kind.doubts(stage.inputs, closed.result) if status == "finished" else ():
            display.line(f"warning: {stage.name}: {doubt}")
        return closed

    def spoiled(status: Status, **changes: Any) -> None:
        try:
            if folder.is_dir():  # a folder that vanished is not made again half empty
                ended(status, **changes)
        except (AlignmentError, OSError) as error:  # the disk that failed the stage may fail its record too
            display.line(f"stage {stage.name}: its record could not be written ({error})")

    try:
        work = stage.kind.run if stages is None else stages[stage.kind.name]
        result = work(stage.inputs, context)
        result = json.loads(json.dumps(mask_values(result), allow_nan=False))
        return ended("finished", result=result, outputs=outputs_of(folder))
    except (Interrupted, KeyboardInterrupt) as error:
        spoiled("interrupted")
        if isinstance(error, Interrupted):
            raise
        raise Interrupted(signal.SIGINT) from None
    except AlignmentError as error:
        if isinstance(error, CheckpointUnavailable):
            error = with_its_setting(error, recipe)
        spoiled("failed", error=mask_private(str(error)))
        _log(run, f"stage {stage.name}: {type(error).__name__}: {error}")
        raise error
    except Exception as error:
        log = _log(run, f"stage {stage.name}\n{traceback.format_exc()}")
        sentence = f"stage {stage.name} stopped by {type(error).__name__}: {mask_private(str(error))[:300]}"
        spoiled("failed", error=sentence)
        kind = DiskFull if isinstance(error, OSError) and error.errno in _NO_SPACE else AlignmentError
        raise kind(f"{sentence}; {log}") from error


def _page(run: Path) -> str:
    from recipes.running.page import write_run_report

    return write_run_report(run).relative_to(run).as_posix()


def _log(run: Path, text: str) -> str:
    try:
        return f"the traceback is in {run_folder.append_log(run, text)}"
    except OSError as error:
        return f"the log could not be written ({error.strerror})"


def _write_if_new(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        write_text(path, text)
