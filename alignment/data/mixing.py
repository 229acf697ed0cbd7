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
    count = min(len(extra), round(share * len(records)))
    if not count:
        return list(records)
    picked = named_generator(seed, *names).choice(len(extra), size=count, replace=False)
    return [*records, *(extra[i] for i in sorted(picked.tolist()))]
