"""A study's page: its variants side by side, stage by stage, with the differences to the first one.  No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alignment.report.intervals import mean_over_seeds
from alignment.report.page import Block, Code, Report, Section
from alignment.report.table import Cell, Table
from recipes.running.folder import now
from recipes.running.record import StageRecord, stage_records
from recipes.running.telling import figure
from recipes.stages.table import STAGES
from recipes.study import Member, Study

# of a result: how long it took and how much was read are no findings
_NO_FINDING = ("seconds", "tokens", "steps", "parameters", "vocab_size", "version")
_COMMON = "every variant"  # of a stage that the variants have in common: the one column


def study_report(study: Study) -> Report:
    """The variants side by side: each figure's mean over the seeds, and its difference to the first variant.

    What every variant has in common, and so is no finding of the study, stands once and folded.
    """
    records = {member.name: _records(member) for member in study.members}
    sections = [_setup(study, records)]
    for name in dict.fromkeys(stage for found in records.values() for stage in found):
        by_member = {
            member.name: figures_of(found[name], member.folder) if name in (found := records[member.name]) else {}
            for member in study.members
        }
        common = _in_common(study, {member: found.get(name) for member, found in records.items()})
        blocks = _tables(study, by_member, common=common)
        if blocks:
            sections.append(Section(id=name, title=name, blocks=blocks, folded=common))
    return Report(
        title=f"{study.name}: report of a study",
        subtitle=study.settings.description,
        sections=tuple(sections),
        facts=(("recipe", study.settings.recipe), ("seeds", ", ".join(map(str, study.settings.seeds)))),
        created=now(),
    )


def figures_of(record: StageRecord, run_folder: Path) -> dict[str, float]:
    """The figures of a finished stage that a study compares: what its kind says, else its result's numbers."""
    kind = STAGES.get(record.kind)
    if kind is None or record.status != "finished":
        return {}
    folder = next(run_folder.glob(f"[0-9]*-{record.name}"), None)
    told = dict(kind.figures(folder)) if folder is not None else {}
    return told or {
        name: float(value)
        for name, value in record.result.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _NO_FINDING
    }


def _records(member: Member) -> dict[str, StageRecord]:
    if not member.folder.is_dir():
        return {}
    return {record.name: record for record in stage_records(member.folder)}


def _in_common(study: Study, records: Mapping[str, StageRecord | None]) -> bool:
    """Whether each seed's members all have the same stage, which was run once for them."""
    by_seed: dict[int, set[str | None]] = {}
    for member in study.members:
        record = records[member.name]
        by_seed.setdefault(member.seed, set()).add(record.fingerprint if record is not None else None)
    return len(study.settings.variants) > 1 and all(len(found) == 1 for found in by_seed.values())


def _setup(study: Study, records: Mapping[str, Mapping[str, StageRecord]]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for member in study.members:
        found = records[member.name].values()
        finished = sum(record.status == "finished" for record in found)
        minutes = sum(record.seconds for record in found) / 60
        rows.append((member.name, member.variant, member.seed, finished, round(minutes, 2)))
    variants = [
        (name, ", ".join(f"{key}: {figure(value)}" for key, value in settings.items()) or "as the recipe")
        for name, settings in study.settings.variants.items()
    ]
    blocks: tuple[Block, ...] = (
        Table(title="Variants", columns=("variant", "settings over the recipe's"), rows=tuple(variants)),
        Table(
            title="Members",
            columns=("run", "variant", "seed", "stages finished", "minutes"),
            rows=tuple(rows),
            note="Stages that members have in common were run once; their minutes stand in each.",
        ),
        Code(title="Command", text=f"align study {study.name} --out {study.folder}"),
    )
    return Section(id="study", title="The study", blocks=blocks)


def _tables(study: Study, by_member: Mapping[str, Mapping[str, float]], *, common: bool) -> tuple[Block, ...]:
    """Figures of one stage: a column per variant, and the paired differences to the first variant."""
    variants = [_COMMON] if common else list(study.settings.variants)
    figures = list(dict.fromkeys(name for found in by_member.values() for name in found))
    values: dict[str, dict[str, dict[int, float]]] = {name: {variant: {} for variant in variants} for name in figures}
    for member in study.members:
        for name, value in by_member[member.name].items():
            values[name][_COMMON if common else member.variant][member.seed] = value
    if not figures:
        return ()
    mean = Table(
        title="Mean over seeds",
        columns=("figure", *variants),
        rows=tuple((name, *(_mean(list(values[name][variant].values())) for variant in variants)) for name in figures),
        note=_NOTE.format(n=len(study.settings.seeds)),
    )
    if len(variants) < 2:
        return (mean,)
    first = variants[0]
    rows = []
    for name in figures:
        cells = []
        for variant in variants[1:]:
            both = values[name][first].keys() & values[name][variant].keys()
            cells.append(_mean([values[name][variant][seed] - values[name][first][seed] for seed in sorted(both)]))
        rows.append((name, *cells))
    paired = Table(
        title=f"Difference to {first}, seed by seed",
        columns=("figure", *variants[1:]),
        rows=tuple(rows),
        note="Each seed's difference is taken first: what a seed does to both variants cancels. " + _INTERVAL,
    )
    return mean, paired


_INTERVAL = "Intervals are Student's t, 95 %, over the seeds; with one seed there is none."
_NOTE = "{n} seeds. " + _INTERVAL


def _mean(values: Sequence[float]) -> Cell:
    if not values:
        return None
    return mean_over_seeds(values) if len(values) > 1 else values[0]
