"""Whether a run's finished stages are what they were when they ended.  No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alignment.errors import CheckpointError
from recipes.masking import mask
from recipes.running.folder import stage_folders
from recipes.running.record import altered_journal, altered_output, read_record


def altered_stages(run: Path, *, every: bool = False) -> Iterator[tuple[str, str | None]]:
    """Each finished stage's folder, and what of its results was altered (None: nothing).

    Args:
        every: hash every file, whatever its size and time.
    """
    for folder in stage_folders(run):
        try:
            record = read_record(folder)
        except CheckpointError as error:
            yield folder.name, str(error)
            continue
        if record is not None and record.status == "finished":
            yield folder.name, altered_output(folder, record, every=every)


def require_unaltered(run: Path) -> None:
    """Refuse to read a run of which something was altered.

    Raises:
        CheckpointError: names the first file and the command that makes it anew.
    """
    for folder, altered in altered_stages(run):
        if altered is not None:
            raise CheckpointError(
                f"{mask(str(run / folder))}: {altered}; restore it, or make it anew: "
                f"align run {mask(str(run))}/recipe.yaml --out {mask(str(run))} --redo"
            )


def altered_journals(run: Path) -> dict[str, str]:
    """Finished stages' folders whose journals are not what the stage left: folder -> sentence; the results stand."""
    found = {}
    for folder in stage_folders(run):
        record = read_record(folder)
        if record is not None and record.status == "finished" and (said := altered_journal(folder, record)):
            found[folder.name] = said
    return found
