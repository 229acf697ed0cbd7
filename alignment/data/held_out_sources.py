"""The held-out rows of all data sets of a run, read once for each stage that trains on files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignment.data.held_out import HeldOut
from alignment.data.identity import Record
from alignment.data.record_types import RecordType
from alignment.data.settings import DataSettings, SourceSettings
from alignment.data.sources import read_source
from alignment.data.split import Split


def read_held_out(
    data: Sequence[tuple[RecordType[Any], DataSettings]],
    searched: Sequence[tuple[RecordType[Any], DataSettings]],
    split: Split,
    *,
    seed: int,
) -> HeldOut:
    """What a run holds out by name, from the files that its data sets' held-out sources name.

    Args:
        data: data sets with held-out sources; the town's and other stages' records are split already and not read.
        searched: data sets whose rows that the split holds out are looked for in texts.
        split: tells which they are.

    Raises:
        DataError: a source cannot be read.
        TooManyBadRows: a source has more bad rows than allowed.
    """
    found = HeldOut()
    for record_type, settings in data:
        for source in settings.held_out:
            for record in _rows(record_type, source, settings, seed):
                found.add(record)
    for record_type, settings in searched:
        for source in settings.train:
            for record in _rows(record_type, source, settings, seed):
                if split.keeps(record):
                    found.look_for(record)
    return found


def _rows(record_type: RecordType[Any], source: SourceSettings, settings: DataSettings, seed: int) -> list[Record]:
    if source.world or source.stage:
        return []
    records, _ = read_source(
        source,
        kind=record_type.name,
        part="train",
        seed=seed,
        world=None,
        max_bad_fraction=settings.max_bad_fraction,
        bad=[],
        quarantine=None,
    )
    return records
