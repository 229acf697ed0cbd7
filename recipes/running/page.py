"""Puts the sections on one page: reads a run's folder, asks each stage's package for its section."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import alignment.evaluate.report
import alignment.train.report
import gatt.report
import reward.report
import rl.report
from alignment.errors import UsageError
from alignment.report.page import Block, Code, Facts, Report, Section, write_report
from alignment.report.table import Cell, Table
from recipes.load import load_run_recipe
from recipes.plan import PlannedStage, stages_of
from recipes.reading.schema import Recipe
from recipes.running.folder import RECIPE, now, require_run
from recipes.running.headline import headline
from recipes.running.record import StageRecord, read_record

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
    plan = [stage for stage in stages_of(recipe) if stage.kind != "report"]
    records = {stage.name: read_record(run / stage.folder) if (run / stage.folder).is_dir() else None for stage in plan}
    sections = [_overview(recipe, plan, records)]
    if recipe.world is not None:
        from alignment.world.report import section as world_section

        sections.append(world_section(recipe.world))
    for stage in _page_order(plan):
        record = records[stage.name]
        if record is None or record.status != "finished":
            sections.append(_missing(stage, record))
        else:
            sections.append(_SECTIONS[stage.kind](run / stage.folder, stage, record, recipe))
    sections.append(_reproduce(run, recipe))
    lineage = tuple((parent, stage.name) for stage in plan for parent in _drawn_parents(stage))
    judge = "gold judge of the embedded world" if recipe.world else "the run's own reward models"
    return Report(
        title=f"{recipe.name}: report of a run",
        subtitle=recipe.description,
        sections=tuple(sections),
        lineage=lineage,
        headline=tuple(_headlines(run, plan)),
        facts=(("seed", recipe.seed), ("judge", judge), ("recipe", recipe.name)),
        created=now(),
    )


def compare_runs(runs: Sequence[Path], out: Path, *, allow_different_judges: bool = False) -> Path:
    """Compare finished runs by their `report.json`.

    Raises:
        UsageError: a run has no report yet, or the runs have different judges.
    """
    from alignment.report.compare import compare

    reports = []
    for run in runs:
        require_run(run)
        path = run / "report" / "report.json"
        if not path.exists():
            raise UsageError(f"{run} has no report yet; `align report {run}` writes it")
        try:
            reports.append((run.name, json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({error}); `align report {run}` writes it anew") from None
    return write_report(compare(reports, allow_different_judges=allow_different_judges), out)


def _headlines(run: Path, plan: Sequence[PlannedStage]) -> list[tuple[str, Cell]]:
    """The figures that people look for first: what the judge says of the first and the last models."""
    stage = next((stage for stage in plan if stage.kind == "evaluate"), None)
    path = run / stage.folder / "evaluation.json" if stage else None
    if path is None or not path.exists():
        return []
    versions = [entry for entry in json.loads(path.read_text(encoding="utf-8"))["versions"] if not entry["task"]]
    facts: list[tuple[str, Cell]] = []
    for campaign in ("helpfulness", "safety"):
        rows = [entry for entry in versions if entry["campaign"] == campaign]
        name = next((n for n in (f"gold.{campaign}", "reward.combined") if rows and n in rows[0]["figures"]), None)
        if name is not None:
            chosen = [row for row in rows if row["version"] == "sft"] + rows[-1:]
            facts += [(f"{name}, {row['version']}", round(row["figures"][name]["value"], 3)) for row in chosen]
    return facts


def _overview(recipe: Recipe, plan: Sequence[PlannedStage], records: Mapping[str, StageRecord | None]) -> Section:
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
            (stage.name, status, round(seconds, 1), tokens or None, flops or None, headline(record) if record else "")
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
                ("seed", recipe.seed),
            ),
        ),
        Table(title="Stages", columns=columns, rows=tuple(rows)),
    ]
    return Section(id="overview", title="Overview", blocks=tuple(blocks), summary=f"{total_seconds / 60:.1f} minutes")


def _page_order(plan: Sequence[PlannedStage]) -> list[PlannedStage]:
    """The evaluation first, since it is what people look for; then the stages in their order."""
    return sorted(plan, key=lambda stage: stage.kind != "evaluate")


def _drawn_parents(stage: PlannedStage) -> tuple[str, ...]:
    """What the lineage shows: where the model comes from and which judges chose, not every file that was read."""
    judges = (
        tuple(name for name in stage.parents if name.startswith("reward-"))
        if stage.kind in ("rejection", "ppo")
        else ()
    )
    if stage.starts_from:
        return (stage.starts_from, *judges)
    return () if stage.kind == "evaluate" else stage.parents


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
            Facts(title="Versions", items=tuple(versions)),
            Facts(title="Machine", items=tuple(machine)),
            Code(title=RECIPE, text=(run / RECIPE).read_text(encoding="utf-8")),
        ),
    )


_Builder = Callable[[Path, PlannedStage, StageRecord, Recipe], Section]


def _tokenizer(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return alignment.train.report.tokenizer_section(record.result)


def _train(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return alignment.train.report.section(folder, stage=stage.name, result=record.result)


def _reward(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return reward.report.section(folder, stage=stage.name, result=record.result)


def _rejection(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return rl.report.rejection_section(folder, stage=stage.name, result=record.result)


def _ppo(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return rl.report.ppo_section(folder, stage=stage.name, result=record.result)


def _gatt(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return gatt.report.section(folder, stage=stage.name, result=record.result)


def _evaluate(folder: Path, stage: PlannedStage, record: StageRecord, recipe: Recipe) -> Section:
    return alignment.evaluate.report.section(folder, num_examples=recipe.evaluate.num_examples)


_SECTIONS: dict[str, _Builder] = {
    "tokenizer": _tokenizer,
    "pretrain": _train,
    "sft": _train,
    "reward": _reward,
    "rejection": _rejection,
    "ppo": _ppo,
    "gatt": _gatt,
    "evaluate": _evaluate,
}
