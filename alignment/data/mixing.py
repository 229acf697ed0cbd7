"""Records of one data set mixed into another's, by a share.  No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What a mixture by proportion came to, in records.

    Attributes:
        asked, share: of the mixed-in records among all; `share` is smaller where there were too few of them.
        own: source -> its records, all taken.
        available, drawn: source -> mixed-in records that there were, and that were drawn.
    """

    asked: float
    share: float
    own: Mapping[str, int]
    available: Mapping[str, int]
    drawn: Mapping[str, int]


def mix_by_share(
    own: Sequence[Record], others: Sequence[Record], share: float, label_of: Mapping[int, str], *, seed: int, name: Name
) -> tuple[list[Record], Mixture]:
    """All of one's own records, and others drawn uniformly until they are `share` of the whole (paper, 3.2.2).

    Args:
        label_of: a record's identity (`id`) -> what its source is called.
        name: names the draw.
    """
    mixed = mix_in(own, others, share / (1 - share), seed=seed, names=("mixture", name))
    told = [Counter(label_of[id(record)] for record in records) for records in (own, others, mixed[len(own) :])]
    found = Mixture(
        asked=share,
        share=(len(mixed) - len(own)) / len(mixed) if mixed else 0.0,
        own=dict(told[0]),
        available=dict(told[1]),
        drawn={label: told[2][label] for label in told[1]},
    )
    return mixed, found
