"""One attempt at a stage: its record before and after, its surroundings, and what is told of it.  No torch."""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.errors import (
    AlignmentError,
    CheckpointError,
    CheckpointUnavailable,
    DiskFull,
    Interrupted,
    SettingError,
    Waiting,
)
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings
from alignment.train.tracking import Tracked
from recipes.masking import mask_private, mask_values
from recipes.running import folder as run_folder
from recipes.running.fingerprint import of_this_release
from recipes.running.inputs import with_its_place, with_its_setting
from recipes.running.job import Job
from recipes.running.lineage import lineage_of
from recipes.running.progress import KeptProgress
from recipes.running.record import StageRecord, Status, journals_of, outputs_of, read_record, write_record
from recipes.stages.context import StageContext
from recipes.stages.kind import PlannedStage, Processes, Surrounding

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def run_stage(job: Job, stage: PlannedStage, basis: tuple[dict[str, Any], str], place: tuple[int, int]) -> StageRecord:
    """Do a stage, or go on with it, and write its record before and after.

    Args:
        basis: what it rests on now, and the fingerprint of that.
        place: its place among the stages of this call, and how many there are.

    Raises:
        Interrupted: a signal asked to stop; the same call goes on.
        Waiting: people have to do their part; the same call goes on then.
        AlignmentError: whatever stopped it; its record says so.
    """
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
        lineage=lineage_of(job.plan, stage),
    )
    if first:
        write_record(folder, record)
    shown = Tracked(
        job.recipe.track if first else (),
        project=job.recipe.name,
        folder=run,
        name=f"{run.resolve().name}/{stage.folder}",
        mark=f"{run.resolve().name}-{stage.folder}-{basis[1][:8]}",
        shown=display.stage_begins(stage.name, *place, resumed=resumed),
    )
    progress = KeptProgress(shown, run, stage.folder) if first else shown
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
        results=lambda name: _result_of(job, name),
    )
    began = time.monotonic()

    def ended(status: Status, **changes: Any) -> StageRecord:
        if isinstance(progress, KeptProgress):
            progress.close()
        shown.close()
        job.require_lock()
        seconds = round(record.seconds + time.monotonic() - began, 3)
        closed = dataclasses.replace(record, status=status, ended=run_folder.now(), seconds=seconds, **changes)
        if first:
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
    except Waiting as error:
        spoiled("interrupted", error=mask_private(str(error)))  # `align stages` says what it waits for
        raise
    except AlignmentError as error:
        if isinstance(error, CheckpointUnavailable):
            error = with_its_setting(error, job.recipe)
        if isinstance(error, SettingError):
            error = with_its_place(error, stage.inputs.settings_key, job.recipe)
        spoiled("failed", error=mask_private(str(error)))
        _log(run, f"stage {stage.name}: {type(error).__name__}: {error}")
        raise error
    except Exception as error:
        log = _log(run, f"stage {stage.name}\n{traceback.format_exc()}")
        sentence = f"stage {stage.name} stopped by {type(error).__name__}: {mask_private(str(error))[:300]}"
        spoiled("failed", error=sentence)
        kind = DiskFull if isinstance(error, OSError) and error.errno in NO_SPACE else AlignmentError
        raise kind(f"{sentence}; {log}") from error


def _result_of(job: Job, name: str) -> Mapping[str, Any]:
    """A parent's result; the plan has seen to it that it ended."""
    folder = next(stage.folder for stage in job.plan if stage.name == name)
    record = read_record(job.folder / folder)
    if record is None or record.status != "finished":
        raise CheckpointError(f"{job.folder / folder} holds no finished stage any more; `align stages` tells how it is")
    return record.result


def _page(run: Path) -> str:
    from recipes.running.page import write_run_report

    return write_run_report(run).relative_to(run).as_posix()


def _log(run: Path, text: str) -> str:
    try:
        return f"the traceback is in {run_folder.append_log(run, text)}"
    except OSError as error:
        return f"the log could not be written ({error.strerror})"
