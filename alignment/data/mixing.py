"""Records of one data set mixed into another's, by a share.  No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from alignment.randomness import Name, named_generator

Record = TypeVar("Record")


def mix_in(
    records: Sequence[Record], extra: Sequence[Record], share: float, *, seed: int, names: tuple[Name, ...]
) -> list[Record]:
    """The records, and after them as many of the extra ones as `share` of the records says, none twice.

    Args:
        share: extra records per record; where there are fewer, all are taken.
        names: name the draw (stage, version), so that each version mixes in others.
    """
    return [*records, *draw(extra, round(share * len(records)), seed=seed, names=names)]


def draw(records: Sequence[Record], count: int, *, seed: int, names: tuple[Name, ...]) -> list[Record]:
    """So many of the records, none twice, in their own order; where there are fewer, all of them.

    Args:
        names: name the draw.
    """
    count = min(len(records), count)
    if not count:
        return []
    picked = named_generator(seed, *names).choice(len(records), size=count, replace=False)
    return [records[i] for i in sorted(picked.tolist())]
