"""Walks a recipe's plan: skips what is finished, resumes what was interrupted, refuses what changed.

One process at a time works on a run (a kernel lock).  A stage's record is written before it starts and
after it ends, atomically; whatever happens between, the next start goes on from there.  No torch
unless there is work to do.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from alignment.errors import AlignmentError, DiskFull, UsageError
from alignment.store.atomic import clear_leftovers, write_text
from alignment.store.lock import RunLock
from alignment.train.packages import require_parallel_packages
from alignment.train.session import StopFlag
from alignment.train.tracking import require_loggers
from recipes.adapters import require_packages
from recipes.load import check_recipe
from recipes.masking import mask
from recipes.plan import stages_of
from recipes.planned import find_stages, needed_for
from recipes.reading.schema import Recipe
from recipes.reading.written import recipe_yaml
from recipes.running import folder as run_folder
from recipes.running.attempt import NO_SPACE, run_stage
from recipes.running.company import company
from recipes.running.digests import Digests
from recipes.running.inputs import check_inputs
from recipes.running.job import Job, StageTable
from recipes.running.record import StageRecord, read_record
from recipes.running.shared import take_over
from recipes.running.signals import stopping_at_signals
from recipes.running.survey import Surveyed, check_unchanged, current_basis, survey
from recipes.running.telling import Display, Quiet
from recipes.stages.context import refused_code
from recipes.stages.kind import PlannedStage, Processes
from reward.function import module_file


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
        RecipeError: input files are missing; all of them, each with its place in the recipe.
        RunLocked: another process works on it.
        RunChanged: finished or begun work rests on something else than what is asked now.
        MissingExtra: a logger's package, an adapter's or DeepSpeed is not installed; said before the first stage.
        Interrupted: a signal asked to stop; the same call goes on.
        Waiting: a stage waits for people; the same call goes on once they have done their part.
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
    job = Job(
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
            kind = DiskFull if error.errno in NO_SPACE else UsageError
            raise kind(f"{mask(str(folder))} cannot be worked in: {error.strerror or error}") from error


def _begun(job: Job) -> RunSummary:
    """See how the run stands, put aside what falls, and do what is left."""
    folder, display, replaced = job.folder, job.display, None
    run_folder.check_run_folder(folder)  # it may have become something since
    if not job.company.keeps_books:
        job.company.meet()  # the first has put aside what falls
    else:
        for name in clear_leftovers(folder):
            display.line(f"removed {name}, left unfinished by an earlier stop")
    surveyed = survey(job.recipe, folder, job.plan, job.needed, job.digests)
    for name in surveyed.lost:
        display.line(f"{name} is gone; no result rests on it, the page does without")
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


def _require_shareable(job: Job, surveyed: Surveyed) -> None:
    """Refuse a launch of several processes before any work if one of the stages could not be shared by them."""
    alone = [
        stage for stage in job.needed if stage.name not in surveyed.finished and stage.kind.processes is Processes.ONE
    ]
    if job.company.size > 1 and alone:
        raise UsageError(
            f"stage {alone[0].name}: {Processes.ONE.value}; {job.company.size} processes were launched. Launch "
            f"them for the stages before it (align sft, align reward), and run the rest with one process"
        )


def _walk(job: Job, surveyed: Surveyed) -> tuple[StageOutcome, ...]:
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
                require_loggers(job.recipe.track)
                require_packages(job.recipe, job.needed)
                require_parallel_packages(job.recipe.compute)
                os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
                job.before_work()
            record = _share(job, stage, basis, (position, len(job.needed)))
        done[stage.name] = record.digest
        outcomes.append(StageOutcome(name=stage.name, worked=worked, seconds=record.seconds, result=record.result))
    return tuple(outcomes)


def _taken_over(job: Job, stage: PlannedStage, mark: str) -> StageRecord | None:
    """A sibling's finished stage; in a launch of several the first process looks for it."""
    taken = take_over(stage, mark, job.folder, job.siblings) if job.company.keeps_books else None
    if taken is not None:
        job.display.line(f"{stage.name}: taken over from {mask(taken[1].name)}, which has done the same")
    job.company.meet()
    if job.company.keeps_books:
        return taken[0] if taken is not None else None
    record = read_record(job.folder / stage.folder)
    return record if record is not None and record.status == "finished" else None


def _share(job: Job, stage: PlannedStage, basis: tuple[dict[str, Any], str], place: tuple[int, int]) -> StageRecord:
    """Run a stage, in a launch of several as its kind says; all leave with the record that the first one wrote."""
    first = job.company.keeps_books
    if first or stage.kind.processes is Processes.ALL:
        record = run_stage(job, stage, basis, place)
    job.company.meet()
    if first:
        return record
    read = read_record(job.folder / stage.folder)
    if read is None or read.status != "finished":
        raise AlignmentError(f"stage {stage.name}: the first process did not finish it")
    return read


def _check_code(stages: tuple[PlannedStage, ...], *, allowed: bool) -> None:
    """Refuse a recipe's own functions unless they are allowed, and functions whose module is not there."""
    functions = {key: name for stage in stages for key, name in stage.inputs.code().items()}
    if functions and not allowed:
        raise UsageError(refused_code(functions))
    for key, name in functions.items():
        if module_file(name) is None:
            raise UsageError(f"{key}: there is no module for {name} on Python's path or in {mask(str(Path.cwd()))}")


def _write_if_new(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        write_text(path, text)
