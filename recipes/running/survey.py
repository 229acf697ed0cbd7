"""How a run stands against what is asked now: finished, to go on with, or changed.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignment.errors import DataError, RunChanged
from recipes.masking import mask, mask_values
from recipes.planned import descendants
from recipes.reading.schema import Recipe
from recipes.running.digests import Digests
from recipes.running.fingerprint import PENDING, Change, basis_of, changes, fingerprint, of_this_release
from recipes.running.folder import stage_folders
from recipes.running.record import StageRecord, altered_output, holds_work, lost_accounts, read_record
from recipes.stages.kind import PlannedStage


@dataclass(kw_only=True)
class Surveyed:
    """The state of a run's stages.

    Attributes:
        finished: stages whose results stand: name -> record.
        changed: stage -> what differs for it.
        fallen: stages with work that cannot stand: the changed ones and all that rest on them.
        fallen_folders: their folders in the run, in order.
        lost: what is gone that no result rests on, as "03-sft/data.json".
    """

    finished: dict[str, StageRecord] = field(default_factory=dict)
    changed: dict[str, list[Change]] = field(default_factory=dict)
    fallen: list[str] = field(default_factory=list)
    fallen_folders: list[Path] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def survey(
    recipe: Recipe,
    run: Path,
    plan: tuple[PlannedStage, ...],
    needed: tuple[PlannedStage, ...],
    digests: Digests,
) -> Surveyed:
    """Compare every stage that ever began with what is asked now; call it under the run's lock.

    Args:
        needed: the stages that are asked for.

    Raises:
        CheckpointError: a stage's record is damaged.
        DataError: an input file of a needed stage is missing.
    """
    found = Surveyed()
    begun = {path.name: path for path in stage_folders(run)}
    done: dict[str, str] = {}
    for stage in plan:
        folder = begun.pop(stage.folder, None)
        record = read_record(folder) if folder is not None else None
        if folder is None or record is None:
            if folder is not None and holds_work(folder):
                found.changed[stage.name] = [Change(key=f"{stage.folder}/stage.json", old="lost", new="needed")]
            continue
        try:
            basis, mark = current_basis(recipe, stage, done, digests)
        except DataError:
            if stage in needed:
                raise
            continue  # it cannot be judged now and is not asked for; it falls only with its parents
        earlier_basis, earlier_mark = of_this_release(record.basis, record.fingerprint)
        if mark != earlier_mark:
            if record.status == "finished" or holds_work(folder):
                found.changed[stage.name] = changes(mask_values(earlier_basis), mask_values(basis)) or [
                    Change(key="fingerprint", old=earlier_mark, new=mark)
                ]
        elif record.status == "finished":
            gone = altered_output(folder, record)
            if not stage.kind.stands(run, record.result):
                continue  # made again; nothing rests on what stands outside the stages' folders
            if gone is not None:
                found.changed[stage.name] = [Change(key=f"output of {stage.folder}", old="complete", new=gone)]
            else:
                found.finished[stage.name] = record
                found.lost += [f"{stage.folder}/{name}" for name in lost_accounts(folder, record)]
                done[stage.name] = record.digest
    down = descendants(plan, set(found.changed))
    folders = {stage.name: run / stage.folder for stage in plan}
    found.fallen = [name for name in down if folders[name].exists()]
    found.fallen_folders = [folders[name] for name in found.fallen]
    for name, path in begun.items():  # stages that the recipe no longer has, or has at another place
        found.changed[name] = [Change(key="stage", old=name, new="not in the plan")]
        found.fallen.append(name)
        found.fallen_folders.append(path)
    for name in down:
        found.finished.pop(name, None)
    return found


def check_unchanged(surveyed: Surveyed, run: Path) -> None:
    """Refuse to touch work that rests on something else than what is asked now.

    Raises:
        RunChanged: lists key, old -> new, and the stages that fall.
    """
    if not surveyed.changed:
        return
    own: dict[str, list[str]] = {}
    for name, differences in surveyed.changed.items():
        for change in differences:
            inherited = change.key.startswith("result of ") and change.new == PENDING and len(surveyed.changed) > 1
            if not inherited:  # the parent's own change says it
                own.setdefault(mask(str(change)), []).append(name)
    lines = [f"  {change}   ({', '.join(names)})" for change, names in own.items()]
    raise RunChanged(
        f"{mask(str(run))} was begun with something else:\n"
        + "\n".join(lines)
        + f"\nThese stages fall: {', '.join(surveyed.fallen)}.\n"
        + "Nothing was touched. Go back to what it was, name another folder with --out, or give --redo to put "
        + "these stages aside (into .replaced/) and do them again."
    )


def current_basis(
    recipe: Recipe, stage: PlannedStage, done: Mapping[str, str], digests: Digests
) -> tuple[dict[str, Any], str]:
    """What a stage would rest on now, and its fingerprint; a parent that is not done is `PENDING`."""
    basis = basis_of(recipe, stage, {name: done.get(name, PENDING) for name in stage.parents}, digests)
    return basis, fingerprint(basis)
