"""`align run` and the stage verbs: call the runner, show its progress, say what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from recipes.cli.display import make_display
from recipes.load import load_recipe
from recipes.masking import mask
from recipes.reading.schema import Recipe
from recipes.running.company import company, launch_note
from recipes.running.runner import RunSummary, run
from recipes.running.telling import Display, duration


def run_and_tell(
    recipe: str,
    overrides: Sequence[str],
    *,
    out: Path | None,
    redo: bool,
    until: tuple[str, ...],
    quiet: bool,
    allow_code: bool = False,
) -> None:
    """Run a recipe (to a stage) with progress on the terminal."""
    console = Console(highlight=False)
    loaded = load_recipe(recipe, overrides)
    display = make_display(console, quiet=quiet or not company().keeps_books)
    folder = out if out is not None else loaded.run_folder
    summary = run(
        loaded,
        out=folder,
        redo=redo,
        until=until,
        allow_code=allow_code,
        display=display,
        before_work=lambda: print_header(loaded, folder, display),
    )
    for line in summary_lines(summary) if company().keeps_books else ():
        display.line(line)


def run_study_and_tell(
    study: str, overrides: Sequence[str], *, out: Path | None, redo: bool, quiet: bool, allow_code: bool = False
) -> None:
    """Run a study's members with progress on the terminal, and say where its page is."""
    from recipes.running.study import run_study
    from recipes.study import load_study

    loaded = load_study(study, overrides, out=out)
    display = make_display(Console(highlight=False), quiet=quiet)
    summary = run_study(
        loaded,
        redo=redo,
        display=display,
        before_work=lambda member: print_header(member.recipe, member.folder, display),
        allow_code=allow_code,
    )
    worked = sum(run.worked for run in summary.members.values())
    display.line(f"{mask(str(loaded.folder))}: {len(summary.members)} members finished, {worked} of them worked on now")
    display.line(f"report: {mask(str(summary.page))}")


def print_header(recipe: Recipe, folder: Path, display: Display) -> None:
    """Say what runs where, and every default that depends on the machine."""
    display.line(f"{recipe.name} -> {mask(str(folder))}, seed {recipe.seed}")
    display.line(machine_line(recipe))
    if (note := launch_note(recipe.compute.parallel.kind)) is not None:
        display.line(f"note: {note}")


def machine_line(recipe: Recipe) -> str:
    """Device, precision, threads and library versions as they were resolved; imports torch."""
    import torch

    from alignment.process import settle
    from alignment.train.compute import resolve_compute

    compute = resolve_compute(recipe.compute)
    asked = recipe.compute.precision
    precision = "bf16 autocast" if compute.autocast_dtype is not None else "fp32"
    how = " (auto)" if asked == "auto" else ""
    threads = f"{torch.get_num_threads()} threads" + (" (auto)" if not recipe.compute.threads else "")
    name = f" {torch.cuda.get_device_name(compute.device)}" if compute.device.type == "cuda" else ""
    machine = f"machine: {compute.device}{name}, precision {precision}{how}, {threads}, torch {torch.__version__}"
    if compute.device.type == "cpu" and torch.get_num_threads() > 1:
        machine += f"; waiting threads spin {settle(torch.get_num_threads()).value}"
    return machine


def summary_lines(summary: RunSummary) -> list[str]:
    """What to say at the end."""
    names = [stage.name for stage in summary.stages if stage.worked]
    lines = []
    if not names:
        lines.append(f"{summary.folder}: all {len(summary.stages)} stages are finished; nothing to do")
    else:
        seconds = sum(stage.seconds for stage in summary.stages if stage.worked)
        before = len(summary.stages) - len(names)
        earlier = f", {before} finished before" if before else ""
        lines.append(f"{summary.folder}: {len(names)} stages done in {duration(seconds)}{earlier}")
    page = report_page(summary.folder)
    if page is not None:
        lines.append(f"report: {page}")
    return lines


def report_page(folder: Path) -> Path | None:
    """The run's HTML page, if it has one."""
    places = [folder / "report" / "index.html", *sorted(folder.glob("[0-9][0-9]-report/index.html"))]
    return next((page for page in places if page.is_file()), None)
