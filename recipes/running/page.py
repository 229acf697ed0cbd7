"""Puts the sections on one page: reads a run's folder, asks each stage's kind for its section."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alignment.errors import UsageError
from alignment.report.page import Block, Code, Facts, Opening, Report, Section, write_report
from alignment.report.table import Cell, Table
from alignment.train.report import data_section
from recipes.load import load_run_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.reading.written import resolved_tree
from recipes.running.folder import RECIPE, now, require_run
from recipes.running.judges import judges_of
from recipes.running.record import StageRecord, altered_journal, read_record
from recipes.stages.kind import Makes, PlannedStage

_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "sentencepiece",
    "numpy",
    "llama2-alignment-suite",
)
_MOST_ROWS = 18  # a longer table of stages is folded: every version may have five
_NO_SETTING = ("name", "description")  # of a recipe


def write_run_report(run: Path) -> Path:
    """Write `report/` (HTML, Markdown, JSON) of a run, finished or not.

    Returns:
        The page's path.

    Raises:
        UsageError: the folder holds no run.
    """
    return write_report(run_report(run), run / "report")


def run_report(run: Path) -> Report:
    """A run's report as a value; stages that have not run say so."""
    require_run(run)
    recipe = load_run_recipe(run)
    plan = [stage for stage in stages_of(recipe) if stage.kind.section is not None]
    records = {stage.name: read_record(run / stage.folder) if (run / stage.folder).is_dir() else None for stage in plan}
    chapters, said = [], {}
    for stage in _page_order(plan):
        record = records[stage.name]
        if record is None or record.status != "finished":
            chapters.append(_missing(stage, record))
        elif stage.kind.section is not None:
            chapter = stage.kind.section(stage.inputs, run / stage.folder, stage.name, record.result)
            said[chapter.id] = chapter.summary
            told = [f"Warning: {doubt}." for doubt in stage.kind.doubts(stage.inputs, record.result)]
            if (lost := altered_journal(run / stage.folder, record)) is not None:
                told.append(f"{lost[:1].upper()}{lost[1:]}.")
            chapters.append(replace(chapter, summary=" ".join([*told, chapter.summary]).strip()))
    sections = [_overview(recipe, plan, records, said), *chapters]
    if recipe.world is not None:
        from alignment.world.report import section as world_section

        sections.append(world_section(recipe.world))
    sections += [data_section({stage.name: run / stage.folder for stage in plan}), _reproduce(run, recipe)]
    by_name = {stage.name: stage for stage in plan}
    lineage = tuple((parent, stage.name) for stage in plan for parent in _drawn_parents(stage, by_name))
    opening, judges = _opening(run, plan, records), judges_of(run, recipe, plan)
    judge = dict(judges).get(opening.judge, opening.judge or "nobody: no two models have been compared")
    return Report(
        title=f"{recipe.name}: report of a run",
        subtitle=recipe.description,
        sections=tuple(sections),
        lineage=lineage,
        top=opening.blocks,
        headline=opening.cards,
        headline_by=opening.judge,
        judges=judges,
        facts=(("seed", recipe.seed), ("judge", judge), ("recipe", recipe.name)),
        created=now(),
    )


def compare_runs(runs: Sequence[Path], out: Path) -> Path:
    """Compare finished runs by their `report.json` and the recipes that they were asked.

    Raises:
        UsageError: a run has no report yet.
    """
    from alignment.report.compare import compare

    reports, settings = [], []
    for run in runs:
        require_run(run)
        path = run / "report" / "report.json"
        if not path.exists():
            raise UsageError(f"{run} has no report yet; `align report {run}` writes it")
        try:
            reports.append((run.name, json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({error}); `align report {run}` writes it anew") from None
        tree = resolved_tree(load_run_recipe(run))
        settings.append(dict(_leaves({key: tree[key] for key in tree if key not in _NO_SETTING})))
    return write_report(compare(reports, settings), out)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key -> value as text, of everything below."""
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    below = [leaf for name, part in parts for leaf in _leaves(part, f"{key}.{name}".lstrip("."))]
    yield from below or [(key, value if isinstance(value, str) else json.dumps(value))]


def _opening(run: Path, plan: Sequence[PlannedStage], records: Mapping[str, StageRecord | None]) -> Opening:
    """What the finished stages give to the top of the page: the first that has something to say."""
    for stage in plan:
        record = records[stage.name]
        if stage.kind.opening is not None and record is not None and record.status == "finished":
            found = stage.kind.opening(stage.inputs, run / stage.folder)
            if found.blocks:
                return found
    return Opening()


def _overview(
    recipe: Recipe,
    plan: Sequence[PlannedStage],
    records: Mapping[str, StageRecord | None],
    summaries: Mapping[str, str],
) -> Section:
    rows: list[tuple[Cell, ...]] = []
    total_seconds, total_tokens, total_flops = 0.0, 0, 0.0
    parameters = next((int(r.result["parameters"]) for r in records.values() if r and "parameters" in r.result), 0)
    for stage in plan:
        record = records[stage.name]
        tokens = int(record.result.get("tokens", 0)) if record else 0
        flops = 6.0 * parameters * tokens  # forward and backward, attention scores left out
        seconds = record.seconds if record else 0.0
        total_seconds, total_tokens, total_flops = total_seconds + seconds, total_tokens + tokens, total_flops + flops
        status = record.status if record else "not run"
        rows.append(
            (
                stage.name,
                status,
                round(seconds, 1),
                tokens or None,
                flops or None,
                summaries.get(stage.name) or (stage.kind.headline(record.result) if record else ""),
            )
        )
    columns = ("stage", "status", "seconds", "tokens trained", "FLOPs (6 N D)", "headline")
    blocks: list[Block] = [
        Facts(
            title="The run",
            items=(
                ("parameters", parameters),
                ("tokens trained", total_tokens),
                ("training FLOPs (6 N D)", total_flops),
                ("minutes", round(total_seconds / 60, 2)),
                *dict(fact for stage in plan for fact in stage.inputs.facts().items()).items(),
            ),
        ),
    ]
    stages = Table(title="Stages", columns=columns, rows=tuple(rows))
    details = (stages,) if len(rows) > _MOST_ROWS else ()
    blocks += () if details else (stages,)
    return Section(
        id="overview",
        title="Overview",
        blocks=tuple(blocks),
        details=details,
        summary=f"{total_seconds / 60:.1f} minutes",
    )


def _page_order(plan: Sequence[PlannedStage]) -> list[PlannedStage]:
    """What brings figures for the top of the page comes first, since people look for it; then the stages in order."""
    return sorted(plan, key=lambda stage: stage.kind.opening is None)


def _drawn_parents(stage: PlannedStage, plan: Mapping[str, PlannedStage]) -> tuple[str, ...]:
    """What the lineage shows: where the model comes from, the newest comparisons that it learnt from and which judges
    chose, not every file that was read."""
    if not stage.kind.makes:
        return ()  # it only looks at what others made
    if stage.starts_from is None:
        return tuple(name for name in stage.parents if plan[name].makes(Makes.POLICY)) or stage.parents
    judges = [name for name in stage.parents if plan[name].makes(Makes.REWARD_MODEL) and name != stage.starts_from]
    read = [name for name in stage.parents if plan[name].makes(Makes.RECORDS) and not plan[name].makes(Makes.POLICY)]
    newest = sorted(read, key=lambda name: plan[name].number)[-1:]
    # comparisons of the model's own start say where it comes from
    start = [] if any(stage.starts_from in plan[name].parents for name in newest) else [stage.starts_from]
    return (*start, *newest, *judges)


def _missing(stage: PlannedStage, record: StageRecord | None) -> Section:
    why = f"This stage is {record.status}: {record.error or ''}" if record else "This stage has not been run."
    return Section(id=stage.name, title=stage.name, blocks=(), summary=why, status="missing")


def _reproduce(run: Path, recipe: Recipe) -> Section:
    versions: list[tuple[str, Cell]] = [("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            versions.append((package, version(package)))
        except PackageNotFoundError:
            versions.append((package, "not installed"))
    machine: list[tuple[str, Cell]] = [
        ("system", f"{platform.system()} {platform.machine()}"),
        ("CPU cores", os.cpu_count() or 0),
        ("precision", recipe.compute.precision),
    ]
    return Section(
        id="reproduce",
        title="How to reproduce",
        blocks=(
            Code(title="Command", text="align run recipe.yaml --out <a new folder>"),
            Code(title=RECIPE, text=(run / RECIPE).read_text(encoding="utf-8")),
        ),
        details=(
            Facts(title="Versions", items=tuple(versions)),
            Facts(title="Machine", items=tuple(machine)),
        ),
    )
