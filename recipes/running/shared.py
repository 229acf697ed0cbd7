"""Stages that a sibling run has finished already: taken over instead of run again.  No torch.

The variants of a study have most of their stages in common.  A stage rests on nothing but its basis, so one whose
fingerprint a finished stage of another run has would come out the same; its folder is linked file by file (copied where
links cannot be made), so that each run still holds its stages itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from alignment.errors import CheckpointError
from alignment.store.atomic import staged_folder
from recipes.running.fingerprint import of_this_release
from recipes.running.record import StageRecord, missing_output, read_record
from recipes.stages.kind import PlannedStage


def take_over(stage: PlannedStage, mark: str, run: Path, siblings: Sequence[Path]) -> tuple[StageRecord, Path] | None:
    """Link a stage's folder from the first sibling that has finished it with the same fingerprint.

    Args:
        mark: the stage's fingerprint in `run`.
        siblings: folders of runs.

    Returns:
        The record and the sibling; None if none has it, if the run has begun the stage itself, or if the stage leaves
        its result outside its folder.
    """
    target = run / stage.folder
    if target.exists() or stage.kind.section is None:
        return None
    for sibling in siblings:
        for folder in sorted(sibling.glob(f"[0-9]*-{stage.name}")):
            record = _finished(folder, mark)
            if record is not None:
                with staged_folder(target) as aside:
                    shutil.copytree(folder, aside, copy_function=_link, dirs_exist_ok=True)
                return record, sibling
    return None


def _finished(folder: Path, mark: str) -> StageRecord | None:
    try:
        record = read_record(folder)
    except CheckpointError:
        return None  # damaged: that run will say so; this one makes its own
    if record is None or record.status != "finished" or of_this_release(record.basis, record.fingerprint)[1] != mark:
        return None
    return record if missing_output(folder, record) is None else None


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target
