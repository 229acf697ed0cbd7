"""How far people agree on the items that several of them judged.  No torch.

Gwet 2014, *Handbook of Inter-Rater Reliability*, chapter 5: AC1 for several raters with gaps, here over the three
answers first, neither, second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from alignment.annotate.people.verdicts import Verdicts

_ANSWERS = 3  # the first is better, neither is, the second is


@dataclass(frozen=True, kw_only=True)
class PeopleAgree:
    """Agreement over all pairs of annotators of an item.

    Attributes:
        items: that two or more judged.
        same: mean share of the pairs of an item's annotators who prefer the same (or are both unsure); None without an
            item.
        ac1: Gwet's AC1, `same` corrected for chance.
    """

    items: int
    same: float | None = None
    ac1: float | None = None


def people_agree(verdicts: Mapping[str, Verdicts]) -> PeopleAgree:
    """Of every annotator's verdicts."""
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    for own in verdicts.values():
        for item, verdict in own.items():
            votes[item][verdict.preferred] += 1
    shared = [counts for counts in votes.values() if counts.total() > 1]
    if not shared:
        return PeopleAgree(items=0)
    alike = [sum(n * (n - 1) for n in counts.values()) / (counts.total() * (counts.total() - 1)) for counts in shared]
    same = sum(alike) / len(alike)
    shares = [sum(counts[answer] / counts.total() for counts in votes.values()) / len(votes) for answer in (1, 0, -1)]
    chance = sum(share * (1 - share) for share in shares) / (_ANSWERS - 1)
    return PeopleAgree(items=len(shared), same=same, ac1=(same - chance) / (1 - chance))
