"""Sources into a data set: train and held-out records that share no prompt, and a report of every row.

sources -> records -> divided by the prompt's hash -> what is held out by name dropped from train -> duplicates dropped
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from alignment.data.comparisons import set_aside
from alignment.data.forms.readers import Kind
from alignment.data.identity import Record, content_key, prompt_key
from alignment.data.mixing import Mixture, mix_by_share
from alignment.data.record_types import RecordType
from alignment.data.rows.quarantine import BadRow, write_quarantine
from alignment.data.settings import DataSettings, SourceSettings, data_settings
from alignment.data.sources import SourcePart, SourceReport, StageFolder, WorldLike, read_source
from alignment.data.split import Split, divide
from alignment.errors import DataError
from alignment.records import Dialogue, Document, LabelledAnswer, Preference

R = TypeVar("R")


@dataclass(kw_only=True)
class DataReport:
    """What became of a data set's rows.

    Attributes:
        sources: one report a source, train's first.
        train, held_out, validation, test: records that came out; `held_out` is what the stage measures itself by, from
            validation and the held-out sources.
        moved: train's records that the hash held out for the stage itself.
        apart: train's records left out because the split keeps their prompts for other stages.
        overlap: records dropped from train because one of the data set's own held-out sources has their prompt.
        repeated: records dropped because they repeat what any stage of the run holds out by name, documents in which a
            held-out row stands among them.
        set_aside: reason -> comparisons left out that teach nothing; they stand in the quarantine file too.
        notes: sentences about parts that so few prompts do not fill.
        duplicates: records with the same text as an earlier one of their part; dropped or kept as asked.
        on_duplicate: what was done with them.
        quarantine: the file with the rows set aside, None where none was asked for.
        mixture: what was drawn of other data, where the data set mixes some in.
    """

    kind: str
    sources: list[SourceReport] = field(default_factory=list)
    train: int = 0
    held_out: int = 0
    validation: int = 0
    test: int = 0
    moved: int = 0
    apart: int = 0
    overlap: int = 0
    repeated: int = 0
    set_aside: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    duplicates: int = 0
    on_duplicate: str = "drop"
    quarantine: str | None = None
    mixture: Mixture | None = None

    @property
    def bad(self) -> int:
        """Rows set aside."""
        return sum(source.bad for source in self.sources)

    @property
    def warnings(self) -> list[str]:
        """Sentences worth a look, of all sources and of the split."""
        return [*(sentence for source in self.sources for sentence in source.warnings), *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, for manifests and the report's section."""
        told = asdict(self)
        if self.mixture is None:
            del told["mixture"]
        return told


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[R]):
    """A data set: train and the other parts share no prompt.

    Attributes:
        train: to train on.
        held_out: what the data set's own stage measures itself by: validation, and the held-out sources.
        validation: what a choice may be made by (PPO's best iteration); shares no prompt with `test`.
        test: what the evaluation reports on: the split's test part, the held-out sources, a town's test part.
    """

    train: list[R]
    held_out: list[R]
    validation: list[R]
    test: list[R]
    report: DataReport


def load_documents(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
    split: Split | None = None,
) -> Loaded[Document]:
    """Texts to pretrain on; dialogues are taken as texts, one paragraph a turn.

    Args:
        settings: or one file or glob, whose form is found by its rows.
        seed: the run's, for `share`.
        quarantine: the JSON Lines file for rows set aside (written even if this raises); None writes none.
        held_out_fraction: of a file or glob; settings say their own.
        world: the embedded world, where a source is a part of it.
        stage_folder: from a stage's name to its folder, where a source is a stage's records.
        split: one for all data sets that are trained on, so that none trains on what another holds out; None goes by
            the data set's own `held_out_fraction` and makes no test part.

    Raises:
        DataError: a source cannot be read or nothing is left.
        TooManyBadRows: a source has more bad rows than allowed.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(Loaded[Document], _load("documents", settings, seed, quarantine, world, stage_folder, split))


def load_dialogues(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
    split: Split | None = None,
) -> Loaded[Dialogue]:
    """Demonstrations: dialogues that end with the assistant; of a preference, the chosen one.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(Loaded[Dialogue], _load("dialogues", settings, seed, quarantine, world, stage_folder, split))


def load_preferences(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
    split: Split | None = None,
) -> Loaded[Preference | LabelledAnswer]:
    """Pairs of answers, and single answers with a safety label.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(
        "Loaded[Preference | LabelledAnswer]",
        _load("preferences", settings, seed, quarantine, world, stage_folder, split),
    )


def load_prompts(
    settings: DataSettings | Path | str,
    *,
    seed: int = 0,
    quarantine: Path | None = None,
    held_out_fraction: float = 0.0,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
    split: Split | None = None,
) -> Loaded[Dialogue]:
    """Prompts that end with the user, each once: what stands before the last answer of whatever a source has.

    Args and errors: see `load_documents`.
    """
    settings = data_settings(settings, held_out_fraction)
    return cast(Loaded[Dialogue], _load("prompts", settings, seed, quarantine, world, stage_folder, split))


def _load(
    kind: Kind,
    settings: DataSettings,
    seed: int,
    quarantine: Path | None,
    world: WorldLike | None,
    stage_folder: StageFolder | None,
    split: Split | None = None,
    with_test: bool = False,
) -> Loaded[Record]:
    report = DataReport(
        kind=kind,
        on_duplicate="drop" if kind == "prompts" else settings.on_duplicate,
        quarantine=str(quarantine) if quarantine else None,
    )
    bad: list[BadRow] = []
    read = _Read()
    try:
        for part, source, into in read.wanted(settings, with_test):
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
            into.extend(records)
            if settings.mix is not None:
                read.label_of |= {id(record): source.label for record in records}
        if kind == "preferences":
            kept, report.set_aside = set_aside([*read.train, *read.mixed, *read.named], bad)
            stay = {id(record) for record in kept}
            for records in (read.train, read.mixed, read.named):
                records[:] = [record for record in records if id(record) in stay]
    finally:
        if quarantine is not None:
            write_quarantine(quarantine, bad)
    return _put_together(read, settings, split, report, seed)


@dataclass(kw_only=True)
class _Read:
    """What the sources gave: to train on, to mix in, held out by name, and a town's own validation and test parts.

    Attributes:
        label_of: a record's identity -> its source's label, where there is other data to mix in.
    """

    train: list[Record] = field(default_factory=list)
    mixed: list[Record] = field(default_factory=list)
    label_of: dict[int, str] = field(default_factory=dict)
    named: list[Record] = field(default_factory=list)
    town: list[Record] = field(default_factory=list)
    town_test: list[Record] = field(default_factory=list)

    def wanted(
        self, settings: DataSettings, with_test: bool
    ) -> Iterator[tuple[SourcePart, SourceSettings, list[Record]]]:
        """The sources to read: as which part, and where its records go."""
        for source in settings.train:
            yield "train", source, self.train
        for source in settings.mix.sources if settings.mix is not None else ():
            yield "mixed", source, self.mixed
        for source in settings.held_out:
            yield "held_out", source, self.town if source.world else self.named
        if with_test:
            for source in settings.held_out or settings.train:
                if source.world:
                    yield "test", source, self.town_test


def _put_together(
    read: _Read, settings: DataSettings, split: Split | None, report: DataReport, seed: int
) -> Loaded[Record]:
    """Divide, drop what is held out by name from the rest, drop what stands there twice, and count."""
    divided = divide(read.train, settings, split)
    report.apart, report.notes = divided.apart, divided.notes
    mixable = divide(read.mixed, settings, split).train if read.mixed else []
    report.apart += len(read.mixed) - len(mixable)  # what the split would hold out of other data measures nothing
    held = {
        prompt_key(record, settings.split_by)
        for record in (*read.named, *read.town, *(divided.validation if mixable else ()))
    }
    train = [record for record in (*divided.train, *mixable) if prompt_key(record, settings.split_by) not in held]
    report.overlap = len(divided.train) + len(mixable) - len(train)
    if split is not None:
        rest = [record for record in train if not split.held_out.repeated_by(record)]
        moved = [record for record in divided.validation if not split.held_out.asked_by(record)]
        report.repeated = len(train) - len(rest) + len(divided.validation) - len(moved)
        train, divided.validation = rest, moved
    report.moved = len(divided.validation)

    same: Callable[[Record], str] = (lambda record: prompt_key(record)) if report.kind == "prompts" else content_key
    train = _without_duplicates(train, same, report)
    if settings.mix is not None:
        foreign = {id(record) for record in mixable}
        own = [record for record in train if id(record) not in foreign]
        others = [record for record in train if id(record) in foreign]
        train, report.mixture = mix_by_share(
            own, others, settings.mix.share, read.label_of, seed=seed, name=report.kind
        )
    held_out = _without_duplicates([*divided.validation, *read.town, *read.named], same, report)
    by_name = {id(record) for record in read.named}
    named = [record for record in held_out if id(record) in by_name]
    validation = [record for record in held_out if id(record) not in by_name]
    test = _without_duplicates([*divided.test, *read.town_test, *named], same, report)
    if report.kind == "prompts" and named and not validation:
        # one file of held-out prompts serves PPO's choice and the evaluation, a half each, by the prompt's hash
        validation = [record for record in named if _chosen_by(record)]
        test = [record for record in test if id(record) not in by_name or not _chosen_by(record)]
    report.train, report.held_out = len(train), len(held_out)
    report.validation, report.test = len(validation), len(test)
    _require_some(train, held_out, settings, report)
    return Loaded(train=train, held_out=held_out, validation=validation, test=test, report=report)


def _chosen_by(record: Record) -> bool:
    return int(prompt_key(record)[-1], 16) % 2 == 0


def _require_some(
    train: Sequence[Record], held_out: Sequence[Record], settings: DataSettings, report: DataReport
) -> None:
    kind = report.kind
    names = ", ".join(source.label for source in settings.train)
    if not train:
        raise DataError(
            f"no {kind} are left to train on from {names}: {_went(report)}; widen the sources, or lower "
            f"held_out_fraction, the split or the held-out sources' overlap"
        )
    if not held_out and (settings.held_out or settings.held_out_fraction):
        raise DataError(f"no {kind} are left to hold out ({_went(report)}); widen the held-out sources")


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
        f"{report.moved + report.test + report.apart:,} held out, {report.overlap + report.repeated:,} dropped as "
        f"overlap, {sum(report.set_aside.values()):,} pairs set aside"
    )


def load_records(
    record_type: RecordType[R],
    settings: DataSettings,
    *,
    seed: int,
    quarantine: Path | None,
    world: WorldLike | None = None,
    stage_folder: StageFolder | None = None,
    split: Split | None = None,
    with_test: bool = False,
) -> Loaded[R]:
    """Records of a type; `load_documents` … `load_prompts` for a type that is known only when it runs.

    Args:
        with_test: read a town's test part too; without it `test` has none of the town.

    The other args and errors: see `load_documents`.
    """
    return cast("Loaded[R]", _load(record_type.name, settings, seed, quarantine, world, stage_folder, split, with_test))
