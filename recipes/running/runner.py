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

from alignment.errors import AlignmentError, DiskFull, Interrupted, UsageError
from alignment.store.atomic import clear_leftovers, write_text
from alignment.store.lock import RunLock
from alignment.train.session import Session, StopFlag
from alignment.train.settings import ComputeSettings
from recipes.load import check_recipe
from recipes.masking import mask, mask_private, mask_values
from recipes.plan import find_stages, needed_for, stages_of
from recipes.reading.schema import Recipe
from recipes.reading.written import recipe_yaml
from recipes.running import folder as run_folder
from recipes.running.company import Company, company
from recipes.running.digests import Digests
from recipes.running.fingerprint import check_inputs, of_this_release
from recipes.running.record import StageRecord, Status, journals_of, outputs_of, read_record, write_record
from recipes.running.shared import take_over
from recipes.running.signals import stopping_at_signals
from recipes.running.survey import Surveyed, check_unchanged, current_basis, survey
from recipes.running.telling import Display, Quiet
from recipes.stages.context import StageContext, refused_code
from recipes.stages.kind import PlannedStage, Processes, StageInputs, Surrounding
from reward.function import module_file

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What one call of `run` was asked, with whom, and the lock that it works under."""

    recipe: Recipe
    folder: Path
    plan: tuple[PlannedStage, ...]
    needed: tuple[PlannedStage, ...]
    redo: bool
    stages: StageTable | None
    allow_code: bool
    display: Display
    stop: StopFlag
    before_work: Callable[[], None]
    siblings: Sequence[Path]
    company: Company
    lock: RunLock
    digests: Digests

    def require_lock(self) -> None:
        """Refuse to write into a run that another process may have taken."""
        if self.company.keeps_books:
            self.lock.require()


def run(
    recipe: Recipe,
    *,
    out: Path | str | None = None,
    redo: bool = False,
    until: str | tuple[str, ...] | None = None,
    stages: StageTable | None = None,
    allow_code: bool = False,
    display: Display | None = None,
    stop: StopFlag | None = None,
    before_work: Callable[[], None] = lambda: None,
    siblings: Sequence[Path] = (),
) -> RunSummary:
    """Bring a run to its end, or to a stage.

    Of several processes that a launcher started (`torchrun`) each calls it; the first one keeps the run's books.

    Args:
        out: the run's folder; the recipe's otherwise.
        redo: put aside (never delete) stages whose recipe, data or code changed, and do them again.
        until: a stage's name or kind; only what it needs is run.
        stages: kind -> what is called in place of each kind's own function.
        allow_code: let functions that the recipe names (`reward.*.function`) run; whoever says so has read them.
        display: told what happens.
        stop: a flag of the caller's; without one, SIGINT and SIGTERM are handled here.
        before_work: called once before the first stage that runs.
        siblings: other runs, from which stages that rest on the same are taken over instead of run.

    Raises:
        UsageError: the folder cannot be a run; there is no such stage; a stage cannot be shared by several processes;
            the recipe names code that is not allowed or not there.
        RunLocked: another process works on it.
        RunChanged: finished or begun work rests on something else than what is asked now.
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
    _check_code(needed, allowed=allow_code)
    check_inputs(recipe, needed)  # before anything is made
    run_folder.make_run_folder(folder)
    display = display or Quiet()
    handled: AbstractContextManager[None] = nullcontext()
    if stop is None:
        stop = StopFlag()
        handled = stopping_at_signals(stop, quiet=isinstance(display, Quiet))
    job = _Job(
        recipe=recipe,
        folder=folder,
        plan=plan,
        needed=needed,
        redo=redo,
        stages=stages,
        allow_code=allow_code,
        display=display,
        stop=stop,
        before_work=before_work,
        siblings=siblings,
        company=company(),
        lock=RunLock(folder),
        digests=Digests(),
    )
    with handled:
        try:
            with job.lock if job.company.keeps_books else nullcontext():
                return _begun(job)
        except OSError as error:  # a stage's own are told by the stage
            kind = DiskFull if error.errno in _NO_SPACE else UsageError
            raise kind(f"{mask(str(folder))} cannot be worked in: {error.strerror or error}") from error


def _begun(job: _Job) -> RunSummary:
    """See how the run stands, put aside what falls, and do what is left."""
    folder, display, replaced = job.folder, job.display, None
    run_folder.check_run_folder(folder)  # it may have become something since
    if not job.company.keeps_books:
        job.company.meet()  # the first has put aside what falls
    else:
        for name in clear_leftovers(folder):
            display.line(f"removed {name}, left unfinished by an earlier stop")
    surveyed = survey(job.recipe, folder, job.plan, job.needed, job.digests)
    _require_shareable(job, surveyed)
    if not job.redo:
        check_unchanged(surveyed, folder)
    elif job.company.keeps_books:
        replaced = run_folder.put_aside(folder, surveyed.fallen_folders)
        if replaced is not None:
            display.line(f"put aside, not deleted: {', '.join(surveyed.fallen)} -> {replaced}")
    if job.company.keeps_books:
        run_folder.mark_run(folder, job.recipe.name)
        _write_if_new(folder / run_folder.RECIPE, recipe_yaml(job.recipe))
        job.company.meet()
    try:
        outcomes = _walk(job, surveyed)
    finally:
        display.close()
    return RunSummary(folder=folder, stages=outcomes, replaced=replaced)


def _require_shareable(job: _Job, surveyed: Surveyed) -> None:
    """Refuse a launch of several processes before any work if one of the stages could not be shared by them."""
    alone = [
        stage for stage in job.needed if stage.name not in surveyed.finished and stage.kind.processes is Processes.ONE
    ]
    if job.company.size > 1 and alone:
        raise UsageError(
            f"stage {alone[0].name}: {Processes.ONE.value}; {job.company.size} processes were launched. Launch "
            f"them for the stages before it (align sft, align reward), and run the rest with one process"
        )


def _walk(job: _Job, surveyed: Surveyed) -> tuple[StageOutcome, ...]:
    outcomes: list[StageOutcome] = []
    done: dict[str, str] = {}
    prepared = False
    for position, stage in enumerate(job.needed, start=1):
        record = surveyed.finished.get(stage.name)
        worked = record is None
        if record is None:
            job.stop.check()
            basis = current_basis(job.recipe, stage, done, job.digests)
            if (record := _taken_over(job, stage, basis[1])) is not None:
                worked = False
        if record is None:
            if not prepared:
                prepared = True
                os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
                job.before_work()
            record = _share(job, stage, basis, (position, len(job.needed)))
        done[stage.name] = record.digest
        outcomes.append(StageOutcome(name=stage.name, worked=worked, seconds=record.seconds, result=record.result))
    return tuple(outcomes)


def _taken_over(job: _Job, stage: PlannedStage, mark: str) -> StageRecord | None:
    """A sibling's finished stage; in a launch of several the first process looks for it."""
    taken = take_over(stage, mark, job.folder, job.siblings) if job.company.keeps_books else None
    if taken is not None:
        job.display.line(f"{stage.name}: taken over from {mask(taken[1].name)}, which has done the same")
    job.company.meet()
    if job.company.keeps_books:
        return taken[0] if taken is not None else None
    record = read_record(job.folder / stage.folder)
    return record if record is not None and record.status == "finished" else None


def _share(job: _Job, stage: PlannedStage, basis: tuple[dict[str, Any], str], place: tuple[int, int]) -> StageRecord:
    """Run a stage, in a launch of several as its kind says; all leave with the record that the first one wrote."""
    first = job.company.keeps_books
    if first or stage.kind.processes is Processes.ALL:
        record = _run_stage(job, stage, basis, place)
    job.company.meet()
    if first:
        return record
    read = read_record(job.folder / stage.folder)
    if read is None or read.status != "finished":
        raise AlignmentError(f"stage {stage.name}: the first process did not finish it")
    return read


def _run_stage(
    job: _Job, stage: PlannedStage, basis: tuple[dict[str, Any], str], place: tuple[int, int]
) -> StageRecord:
    job.require_lock()
    run, folder, display = job.folder, job.folder / stage.folder, job.display
    first = job.company.keeps_books
    earlier = read_record(folder)
    resumed = earlier is not None and of_this_release(earlier.basis, earlier.fingerprint)[1] == basis[1]
    if earlier is not None and resumed:  # its checkpoints carry the fingerprint that it began with
        basis = dict(earlier.basis), earlier.fingerprint
    if stage.kind.processes is Processes.ALL:
        job.company.meet()  # all have read the earlier record
    if earlier is not None and not resumed and first:  # it began with other settings and made nothing: start clean
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
    if first:
        write_record(folder, record)
    progress = display.stage_begins(stage.name, *place, resumed=resumed)
    # a stage that says it rests on neither gets neither
    around = stage.kind.surroundings
    session = Session(
        folder=folder,
        seed=job.recipe.seed if Surrounding.SEED in around else 0,
        fingerprint=basis[1],
        compute=job.recipe.compute if Surrounding.COMPUTE in around else ComputeSettings(),
        progress=progress,
        stop=job.stop,
        before_save=job.require_lock,
    )
    context = StageContext(
        stage=stage,
        session=session,
        folders={other.name: run / other.folder for other in job.plan if other.name in stage.parents},
        write_page=lambda: _page(run),
        allow_code=job.allow_code,
    )
    began = time.monotonic()

    def ended(status: Status, **changes: Any) -> StageRecord:
        job.require_lock()
        seconds = round(record.seconds + time.monotonic() - began, 3)
        closed = dataclasses.replace(record, status=status, ended=run_folder.now(), seconds=seconds, **changes)
        if first:
            write_record(folder, closed)
        note = stage.kind.headline(closed.result) if status == "finished" else changes.get("error") or ""
        display.stage_ends(stage.name, status, seconds, note)
        return closed

    def spoiled(status: Status, **changes: Any) -> None:
        try:
            if folder.is_dir():  # a folder that vanished is not made again half empty
                ended(status, **changes)
        except (AlignmentError, OSError) as error:  # the disk that failed the stage may fail its record too
            display.line(f"stage {stage.name}: its record could not be written ({error})")

    try:
        work = stage.kind.run if job.stages is None else job.stages[stage.kind.name]
        result = work(stage.inputs, context)
        result = json.loads(json.dumps(mask_values(result), allow_nan=False))
        made = {"outputs": outputs_of(folder), "journals": journals_of(folder)} if first else {}
        return ended("finished", result=result, **made)
    except (Interrupted, KeyboardInterrupt) as error:
        spoiled("interrupted")
        if isinstance(error, Interrupted):
            raise
        raise Interrupted(signal.SIGINT) from None
    except AlignmentError as error:
        spoiled("failed", error=mask_private(str(error)))
        _log(run, f"stage {stage.name}: {type(error).__name__}: {error}")
        raise
    except Exception as error:
        log = _log(run, f"stage {stage.name}\n{traceback.format_exc()}")
        sentence = f"stage {stage.name} stopped by {type(error).__name__}: {mask_private(str(error))[:300]}"
        spoiled("failed", error=sentence)
        kind = DiskFull if isinstance(error, OSError) and error.errno in _NO_SPACE else AlignmentError
        raise kind(f"{sentence}; {log}") from error


def _check_code(stages: tuple[PlannedStage, ...], *, allowed: bool) -> None:
    """Refuse a recipe's own functions unless they are allowed, and functions whose module is not there."""
    functions = {key: name for stage in stages for key, name in stage.inputs.code().items()}
    if functions and not allowed:
        raise UsageError(refused_code(functions))
    for key, name in functions.items():
        if module_file(name) is None:
            raise UsageError(f"{key}: there is no module for {name} on Python's path or in {mask(str(Path.cwd()))}")


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
