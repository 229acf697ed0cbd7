"""Sources into a data set: train and held-out records that share no prompt, and a report of every row.

sources -> records -> held out by the prompt's hash -> overlap dropped from train -> duplicates dropped
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from alignment.data.forms.readers import Kind
from alignment.data.identity import Record, content_key, held_out_by_hash, prompt_key
from alignment.data.record_types import RecordType
from alignment.data.rows.quarantine import BadRow, write_quarantine
from alignment.data.settings import DataSettings, data_settings
from alignment.data.sources import SourceReport, StageFolder, WorldLike, read_source
from alignment.errors import DataError
from alignment.records import Dialogue, Document, LabelledAnswer, Preference

R = TypeVar("R")


@dataclass(kw_only=True)
class DataReport:
    """What became of a data set's rows.

    Attributes:
        sources: one report a source, train's first.
        train, held_out: records that came out.
        moved: train's records that the hash held out.
        overlap: records dropped from train because their prompt is held out.
        duplicates: records with the same text as an earlier one of their part; dropped or kept as asked.
        on_duplicate: what was done with them.
        quarantine: the file with the rows set aside, None where none was asked for.
    """

    kind: str
    sources: list[SourceReport] = field(default_factory=list)
    train: int = 0
    held_out: int = 0
    moved: int = 0
    overlap: int = 0
    duplicates: int = 0
    on_duplicate: str = "drop"
    quarantine: str | None = None

    @property
    def bad(self) -> int:
        """Rows set aside."""
        return sum(source.bad for source in self.sources)

    @property
    def warnings(self) -> list[str]:
        """Sentences worth a look, of all sources."""
        return [sentence for source in self.sources for sentence in source.warnings]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, for manifests and the report's section."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[R]):
    """A data set: train and held-out records share no prompt."""

    train: list[R]
    held_out: list[R]
    report: DataReport


def load_documents(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
) -> Loaded[Document]:
    """Texts to pretrain on; dialogues are taken as texts, one paragraph a turn.

    Args:
        settings: or one file or glob, whose form is found by its rows.
        seed: the run's, for `share`.
        quarantine: the JSON Lines file for rows set aside (written even if this raises); None writes none.
        held_out_fraction: of a file or glob; settings say their own.
        world: the embedded world, where a source is a part of it.
        stage_folder: from a stage's name to its folder, where a source is a stage's records.

    Raises:
        DataError: a source cannot be read or nothing is left.
        TooManyBadRows: a source has more bad rows than allowed.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(
        Loaded[Document],
        _load("documents", settings, seed, quarantine, world, stage_folder),
    )


def load_dialogues(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
) -> Loaded[Dialogue]:
    """Demonstrations: dialogues that end with the assistant; of a preference, the chosen one.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(
        Loaded[Dialogue],
        _load("dialogues", settings, seed, quarantine, world, stage_folder),
    )


def load_preferences(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
) -> Loaded[Preference | LabelledAnswer]:
    """Pairs of answers, and single answers with a safety label.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(
        "Loaded[Preference | LabelledAnswer]",
        _load("preferences", settings, seed, quarantine, world, stage_folder),
    )


def load_prompts(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
) -> Loaded[Dialogue]:
    """Prompts that end with the user, each once: what stands before the last answer of whatever a source has.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(
        Loaded[Dialogue],
        _load("prompts", settings, seed, quarantine, world, stage_folder),
    )


def _load(
    kind: Kind,
    settings: DataSettings,
    seed: int,
    quarantine: Path | None,
    world: WorldLike | None,
    stage_folder: StageFolder | None,
) -> Loaded[Record]:
    report = DataReport(
        kind=kind,
        on_duplicate="drop" if kind == "prompts" else settings.on_duplicate,
        quarantine=str(quarantine) if quarantine else None,
    )
    bad: list[BadRow] = []
    parts: dict[str, list[Record]] = {"train": [], "held_out": []}
    try:
        for part, sources in (("train", settings.train), ("held_out", settings.held_out)):
            for source in sources:
                records, told = read_source(
                    source,
                    kind=kind,
                    part=part,
                    seed=seed,
                    world=world,
                    max_bad_fraction=settings.max_bad_fraction,
                    bad=bad,
                    quarantine=quarantine,
                    stage_folder=stage_folder,
                )
                report.sources.append(told)
                parts[part].extend(records)
    finally:
        if quarantine is not None:
            write_quarantine(quarantine, bad)

    train, held_out = _split(parts["train"], parts["held_out"], settings, report)
    same: Callable[[Record], str] = (lambda record: prompt_key(record)) if kind == "prompts" else content_key
    train = _without_duplicates(train, same, report)
    held_out = _without_duplicates(held_out, same, report)
    report.train, report.held_out = len(train), len(held_out)
    names = ", ".join(source.label for source in settings.train)
    if not train:
        raise DataError(
            f"no {kind} are left to train on from {names}: {_went(report)}; widen the sources, or lower "
            f"held_out_fraction or the held-out sources' overlap"
        )
    if not held_out and (settings.held_out or settings.held_out_fraction):
        raise DataError(f"no {kind} are left to hold out ({_went(report)}); widen the held-out sources")
    return Loaded(train=train, held_out=held_out, report=report)


def _split(
    train: list[Record], held_out: list[Record], settings: DataSettings, report: DataReport
) -> tuple[list[Record], list[Record]]:
    """Hold out by the prompt's hash, then drop from train what stands on the other side too."""
    keys = [prompt_key(record, settings.split_by) for record in train]
    chosen: set[str] = set()
    if settings.held_out_fraction and len(set(keys)) > 1:
        chosen = {key for key in keys if held_out_by_hash(key, settings.held_out_fraction)}
        # of a handful of prompts the hash may take none or all; one is always held out, one always trained on
        chosen = chosen or {min(keys)}
        chosen = chosen if len(chosen) < len(set(keys)) else chosen - {max(keys)}
    moved = [record for record, key in zip(train, keys, strict=True) if key in chosen]
    rest = [(record, key) for record, key in zip(train, keys, strict=True) if key not in chosen]
    held_keys = {prompt_key(record, settings.split_by) for record in held_out}
    kept = [record for record, key in rest if key not in held_keys]
    report.moved, report.overlap = len(moved), len(rest) - len(kept)
    return kept, [*moved, *held_out]


def _without_duplicates(records: list[Record], same: Callable[[Record], str], report: DataReport) -> list[Record]:
    seen: set[str] = set()
    first: list[Record] = []
    for record in records:
        key = same(record)
        if key not in seen:
            seen.add(key)
            first.append(record)
    report.duplicates += len(records) - len(first)
    return first if report.on_duplicate == "drop" else records


def _went(report: DataReport) -> str:
    read = sum(source.read for source in report.sources)
    skipped = sum(sum(source.skipped.values()) for source in report.sources)
    not_picked = sum(source.not_picked for source in report.sources)
    return (
        f"{read:,} rows read, {report.bad:,} set aside, {skipped:,} skipped, {not_picked:,} not picked, "
        f"{report.moved:,} held out, {report.overlap:,} dropped as overlap"
    )


def load_records(
    record_type: RecordType[R],
    settings: DataSettings,
    *,
    seed: int,
    quarantine: Path | None,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
) -> Loaded[R]:
    """Records of a type; `load_documents` … `load_prompts` for a type that is known only when it runs.

    Args and errors: see `load_documents`.
    """
    return cast("Loaded[R]", _load(record_type.name, settings, seed, quarantine, world, stage_folder))
