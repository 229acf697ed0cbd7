"""Which two models the page's first sentence compares.  No torch, no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The question of a run: did this work make that model better?

    Attributes:
        before, after: the two models, by the names of the evaluation.
        work: what lies between them ("alignment").
    """

    before: str
    after: str
    work: str
