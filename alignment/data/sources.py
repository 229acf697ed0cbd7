"""One source into records of one kind: files found, rows read, faults set aside, a share picked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

from alignment.data.catalogue.origins import describe_different
from alignment.data.forms.columns import Reading, RowFault, SkippedRow, check_message
from alignment.data.forms.readers import READERS, RECORD_OF, Kind, as_kind, choose_form
from alignment.data.identity import Record, content_key
from alignment.data.rows.files import read_rows, suffix_of
from alignment.data.rows.find import find_files
from alignment.data.rows.json_lines import Event, RawRow
from alignment.data.rows.lines import BlankLines
from alignment.data.rows.quarantine import BadRow, count_reasons, too_many
from alignment.data.rows.written import RECORDS_FILE, read_records
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.randomness import named_seed
from alignment.records import Dialogue, Document, LabelledAnswer, Preference
from alignment.store.regular import open_regular

# Enough bad rows to judge by before the end: a file of rubbish is not read through.
EARLY_ROWS = 10_000
ROWS_LOOKED_AT = 32  # rows and faults at the beginning by which `auto` finds the form
SourcePart = Literal["train", "mixed", "held_out", "test"]
_TOWN_SPLIT: Mapping[SourcePart, str] = {
    "train": "train",
    "mixed": "train",
    "held_out": "validation",
    "test": "test",
}
StageFolder = Callable[[str], Path]  # a stage's name -> its folder; raises where it is none that may be read


class WorldLike(Protocol):
    """What data needs of the embedded world (`alignment.world.World`)."""

    def documents(self, split: Any) -> Iterable[Document]: ...

    def dialogues(self, split: Any, *, instructed: bool) -> Iterable[Dialogue]: ...

    def preferences(self, campaign: Any, split: Any) -> Iterable[Preference | LabelledAnswer]: ...

    def prompts(self, campaign: Any, split: Any) -> Iterable[Dialogue]: ...


@dataclass(kw_only=True)
class SourceReport:
    """What became of one source's rows: read = good + quarantined + skipped + not picked.

    Attributes:
        files: file -> SHA-256, in reading order.
        read: rows read (blank lines not among them).
        good: rows that made records.
        records: records made (a row may make several pairs).
        quarantined: reason -> rows set aside.
        skipped: reason -> good rows that make no record (a tie).
        notes: reason -> how often something inside good rows was passed over or mended.
        warnings: sentences worth a look.
    """

    name: str
    part: str
    form: str = ""
    files: dict[str, str] = field(default_factory=dict)
    read: int = 0
    good: int = 0
    records: int = 0
    blank: int = 0
    not_picked: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Rows set aside."""
        return sum(self.quarantined.values())


def read_source(
    settings: SourceSettings,
    *,
    kind: Kind,
    part: SourcePart,
    seed: int,
    world: WorldLike | None,
    max_bad_fraction: float,
    bad: list[BadRow],
    quarantine: Path | None,
    stage_folder: StageFolder | None = None,
) -> tuple[list[Record], SourceReport]:
    """Read one source.

    Args:
        kind: what the records are for.
        part: a world source takes its train, validation or test split by it.
        bad: the rows set aside are added here as they are found, so that they are kept when this raises.
        quarantine: where the caller writes them; only named in the message.
        stage_folder: where a stage source's records are.

    Raises:
        DataError: no such file, no row that can be read, a column map that fits nothing, or a file whose rest is lost
            (cut, a quote not closed, something after a JSON list), however many bad rows are allowed.
        TooManyBadRows: more bad rows than allowed.
    """
    report = SourceReport(name=settings.label, part=part)
    if settings.world:
        return _read_world(settings, kind, part, seed, world, report), report
    allowed = settings.max_bad_fraction if settings.max_bad_fraction is not None else max_bad_fraction
    mine: list[BadRow] = []
    if settings.stage:
        made = _read_stage(settings, kind, part, seed, stage_folder, report, mine)
        bad.extend(mine)
        _judge_bad(settings, report, mine, allowed, quarantine)
        return made, report
    reading = Reading(settings, seed=seed)
    records: list[Record] = []
    skipped: Counter[str] = Counter()
    quarantined = 0
    is_text, events = _open(settings, report)
    first = list(islice(events, ROWS_LOOKED_AT))
    rows = [event for event in first if isinstance(event, RawRow)]
    if rows:
        report.form = choose_form(settings, rows, kind, is_text=is_text)
    for event in chain(first, events):
        if isinstance(event, BlankLines):
            report.blank += event.count
            continue
        report.read += event.rows if isinstance(event, BadRow) else 1
        if isinstance(event, RawRow):
            reading.see(event.value)
            if not report.form:  # nothing but bad rows so far
                report.form = choose_form(settings, [event], kind, is_text=is_text)
            try:
                made = [
                    as_kind(record, kind, settings, reading.notes)
                    for record in READERS[report.form](event, reading)  # type: ignore[index]
                ]
            except SkippedRow as skip:
                skipped[skip.reason] += 1
                continue
            except RowFault as fault:
                event = event.bad(fault.reason, fault.detail)
            else:
                if not _picked(settings, seed, event):
                    report.not_picked += 1
                    continue
                report.good += 1
                records.extend(made)
                if report.good == settings.limit:
                    break
                continue
        mine.append(event)
        bad.append(event)
        quarantined += event.rows
        if event.cure:
            raise DataError(f"{event.said}; nobody can say how many rows are lost with it: {event.cure}")
        if len(mine) >= EARLY_ROWS and quarantined > max(allowed, 0.5) * report.read:
            raise too_many(mine, source=settings.label, rows=report.read, allowed=allowed, file=quarantine, early=True)
    report.records, report.skipped = len(records), dict(skipped)
    report.quarantined, report.notes = count_reasons(mine), dict(sorted(reading.notes.items()))
    _judge(settings, report, reading, mine, allowed, quarantine)
    return records, report


def _judge(
    settings: SourceSettings,
    report: SourceReport,
    reading: Reading,
    bad: list[BadRow],
    allowed: float,
    quarantine: Path | None,
) -> None:
    """Raise where the source as a whole cannot be used."""
    notice = "".join(f"; {sentence}" for sentence in report.warnings)
    whole = not (settings.limit and report.good == settings.limit)
    misfit = reading.misfit()
    if misfit and (whole or not report.good):
        raise DataError(f"{settings.label}: {misfit}{notice}")
    if not report.read:
        raise DataError(f"{settings.label} holds no rows ({report.blank:,} blank lines); rows were expected{notice}")
    if not report.records and not report.not_picked and not report.bad:
        why = "; ".join(f"{count:,} × {reason}" for reason, count in {**report.skipped, **report.notes}.items())
        raise DataError(f"{settings.label}: none of {report.read:,} rows makes a record: {why}{notice}")
    _judge_bad(settings, report, bad, allowed, quarantine)


def _judge_bad(
    settings: SourceSettings, report: SourceReport, bad: list[BadRow], allowed: float, quarantine: Path | None
) -> None:
    if report.bad > allowed * report.read:
        source = "; ".join([settings.label, *report.warnings])
        raise too_many(bad, source=source, rows=report.read, allowed=allowed, file=quarantine)


def _open(settings: SourceSettings, report: SourceReport) -> tuple[bool, Iterator[Event]]:
    """Whether the source is plain text, and its rows."""
    if settings.hub:
        from alignment.data.rows.tables import read_hub

        return False, read_hub(settings)
    files = find_files(settings)
    kinds = {suffix_of(file) == ".txt" for file in files}
    if len(kinds) > 1:
        raise DataError(f"{settings.path} finds plain text and tables together; give them as two sources")

    def events() -> Iterator[Event]:
        for file in files:
            report.files[str(file)] = file_sha256(file)
            different = describe_different(file, report.files[str(file)])
            if different:
                report.warnings.append(different)
            yield from read_rows(file, settings)

    return kinds == {True}, events()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def _picked(settings: SourceSettings, seed: int, row: RawRow) -> bool:
    """Whether a good row belongs to the share: decided by the file's own name, the line and the seed."""
    if settings.share >= 1:
        return True
    place = (Path(row.source.file).name, row.source.line)
    return named_seed(seed, "share", *place) < settings.share * 2**63


def _read_world(
    settings: SourceSettings, kind: Kind, part: SourcePart, seed: int, world: WorldLike | None, report: SourceReport
) -> list[Record]:
    if world is None:
        raise DataError(f"{settings.label} is a part of the embedded world, and no world was given; pass world=")
    name, _, which = (settings.world or "").partition("/")
    split = _TOWN_SPLIT[part]
    whole: Iterable[Record]
    if name == "documents":
        whole = world.documents(split)
    elif name == "dialogues":
        whole = world.dialogues(split, instructed=which == "instructed")
    elif name == "preferences":
        whole = world.preferences(which, split)
    else:
        whole = world.prompts(which, split)
    report.form = "world"
    return _take(settings, kind, seed, whole, report)


def _read_stage(
    settings: SourceSettings,
    kind: Kind,
    part: SourcePart,
    seed: int,
    stage_folder: StageFolder | None,
    report: SourceReport,
    bad: list[BadRow],
) -> list[Record]:
    """The records that another stage wrote; what a model said in them is looked at as any file's text is.

    A stage may say in a record's `meta` which part of the data it is for (`part`: "train", "watch" or "held_out") and
    which campaign it belongs to: only what is asked for is read, and nothing else counts as read.
    """
    if stage_folder is None:
        raise DataError(f"{settings.label} reads another stage's records, and no run was given; pass stage_folder=")
    path = stage_folder(settings.stage or "") / RECORDS_FILE
    if not path.is_file():
        raise DataError(f"{settings.label}: that stage wrote no records: there is no file {path}")
    place = f"{settings.stage}/{RECORDS_FILE}"
    report.form, report.files[place] = "records", file_sha256(path)

    wanted = {"part": "held_out" if part == "held_out" else settings.part or "train", "campaign": settings.campaign}

    def sound() -> Iterator[Record]:
        for number, record in enumerate(read_records(path), start=1):
            if record.meta.get("part", wanted["part"]) != wanted["part"]:
                continue
            if settings.campaign is not None and record.meta.get("campaign") != settings.campaign:
                continue
            try:
                for where, text in _messages(record):
                    check_message(text, where)
            except RowFault as fault:
                report.read += 1
                bad.append(
                    BadRow(
                        file=place,
                        line=number,
                        reason=fault.reason,
                        detail=fault.detail,
                        excerpt=str(record.source),
                    )
                )
            else:
                yield record

    records = _take(settings, kind, seed, sound(), report)
    report.quarantined = count_reasons(bad)
    if not report.read:
        which = [settings.campaign or "", "held-out" if part == "held_out" else settings.part or "training"]
        report.warnings.append(f"{settings.label}: {place} holds no {' '.join(filter(None, which))} records")
    return records


def _messages(record: Record) -> Iterator[tuple[str, str]]:
    """Every message of a record with its name in a fault; a document is none."""
    if isinstance(record, Document):
        return
    prompt = record if isinstance(record, Dialogue) else record.prompt
    if prompt.system is not None:
        yield "system", prompt.system
    for number, turn in enumerate(prompt.turns, start=1):
        yield f"turn {number}", turn.content
    for name in ("chosen", "rejected", "answer"):
        if hasattr(record, name):
            yield name, getattr(record, name)


def _take(
    settings: SourceSettings, kind: Kind, seed: int, rows: Iterable[Record], report: SourceReport
) -> list[Record]:
    """What a source of ready-made records gives: as the stage wants them, its share, up to the limit."""
    notes: Counter[str] = Counter()
    records: list[Record] = []
    for row in rows:
        report.read += 1
        try:
            record = as_kind(row, kind, settings, notes)
        except RowFault as fault:
            raise DataError(f"{settings.label} makes no {kind}: {fault}") from fault
        if not isinstance(record, RECORD_OF[kind]):
            raise DataError(f"{settings.label} makes no {kind}; its records are {type(row).__name__}s")
        if settings.share < 1 and named_seed(seed, "share", content_key(row)) >= settings.share * 2**63:
            report.not_picked += 1
            continue
        records.append(record)
        if len(records) == settings.limit:
            break
    report.good = report.records = len(records)
    report.notes = dict(notes)
    return records
