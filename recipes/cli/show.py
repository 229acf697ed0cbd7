"""Verbs that only look: stages, recipes, schema, report, world.  No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignment.errors import CheckpointError, RecipeError, UsageError
from recipes.load import load_run_recipe, shipped_recipes
from recipes.masking import safe
from recipes.reading.schema import Recipe
from recipes.running.folder import is_locked, require_run, stage_folders
from recipes.running.progress import read_progress
from recipes.running.record import read_record
from recipes.running.telling import duration, far
from recipes.running.verify import altered_journals, altered_stages, require_unaltered
from recipes.stages.table import STAGES

_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red"}
_WIDE = 160  # columns where there is no terminal: tables in a pipe are not cut to 80


def make_console() -> Console:
    """Standard output; in a pipe wide and without colour."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def show_stages(run: Path) -> None:
    """Print a run's stages: status, time, headline figure (of the one at work: how far it is); and what is to come.

    Raises:
        UsageError: there is no run.
    """

    require_run(run)
    console = make_console()
    at_work = is_locked(run)
    progress = read_progress(run) if at_work else None
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "status", "time", "result"):
        table.add_column(column, overflow="fold")
    seen: set[str] = set()
    for folder in stage_folders(run):
        record = read_record(folder)
        if record is None:
            continue
        seen.add(folder.name)
        status: str = record.status
        if status == "running" and not at_work:
            status = "interrupted"  # its process is gone
        kind = STAGES.get(record.kind)
        note = record.error or (kind.headline(record.result) if kind is not None else "")
        seconds = record.seconds
        if status == "running" and progress is not None and progress.stage == folder.name:
            note = far(progress.done, progress.total, progress.unit, progress.seconds_left)
            seconds += progress.seconds
        style = _STYLES.get(status, "")
        table.add_row(folder.name, Text(status, style), duration(seconds), Text(safe(note.split("\n")[0])))
    for name in _to_come(run):
        if name not in seen:
            table.add_row(name, Text("to come", "dim"), "", "")
    console.print(table)
    console.print("a process works on it now" if at_work else "no process works on it now")


def show_recipes() -> None:
    """Print the shipped recipes with their descriptions."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, path in shipped_recipes().items():
        from alignment.strict_yaml import read_yaml

        _, document = read_yaml(path)
        tree: Any = document.value if isinstance(document.value, dict) else {}
        table.add_row(Text(name, "bold"), Text(safe(str(tree.get("description", "")).strip())))
    make_console().print(table)


def show_schema() -> None:
    """Print the JSON schema of recipes."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    print(json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False))


def write_report(runs: Sequence[Path], out: Path | None) -> None:
    """Write one run's report, or a comparison of several.

    Raises:
        UsageError: a folder is no run, or a comparison has no place.
    """
    for run in runs:
        require_run(run)
    from recipes.running.page import compare_runs, write_run_report

    for run in runs:
        require_unaltered(run)
    if len(runs) == 1:
        if out is not None:
            raise UsageError("--out is for comparisons of several runs; one run's report stands in its folder")
        page = write_run_report(runs[0])
    else:
        page = compare_runs(runs, out or runs[0] / "report" / "compared")
    print(safe(f"report: {page}"))


def verify_run(run: Path) -> None:
    """Hash every file that a run's finished stages left, and say which were altered.

    Raises:
        UsageError: there is no run.
        CheckpointError: something was altered; says how many stages.
    """
    require_run(run)
    found = list(altered_stages(run, every=True))
    for folder, altered in found:
        print(safe(f"{folder}: {altered or 'as it was left'}"))
    for folder, altered in altered_journals(run).items() if all(altered is None for _, altered in found) else ():
        print(safe(f"{folder}: {altered} (the stage's result stands)"))
    if bad := [folder for folder, altered in found if altered is not None]:
        raise CheckpointError(
            f"{len(bad)} of {len(found)} finished stages were altered ({', '.join(bad)}); restore their files, or make "
            f"them anew: align run {safe(str(run))}/recipe.yaml --out {safe(str(run))} --redo"
        )


def write_world_files(*, size: str, seed: int, out: Path) -> None:
    """Write the embedded world as files.

    Raises:
        UsageError: there is no such size.
    """
    from alignment.world.export import write_world
    from alignment.world.settings import PEOPLE, WorldSettings

    if size not in PEOPLE:
        raise UsageError(f"--size is {size!r}; {', '.join(PEOPLE)} are right")
    settings = WorldSettings.model_validate({"size": size, "seed": seed})
    write_world(settings, out)
    print(safe(f"world: {out}"))


def _to_come(run: Path) -> list[str]:
    """Folder names of the whole plan; none if the run's recipe cannot be read any more."""
    from recipes.plan import stages_of

    try:
        return [stage.folder for stage in stages_of(load_run_recipe(run))]
    except (UsageError, RecipeError):
        return []
