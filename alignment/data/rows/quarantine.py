"""Rows set aside: what they are, where they are written, and when there are too many of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.errors import TooManyBadRows
from alignment.store.atomic import write_text

EXCERPT = 200  # characters of a row that are kept


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that was set aside.

    Attributes:
        file: the file (or hub data set) as reports name it.
        line: 1-based line, or row where the format has no lines.
        place: more about the place where there is more ("row group 2, row 17"), else "".
        reason: a few words, the same for rows of one kind, so that they can be counted.
        detail: what is particular to this row (a value, a position), else "".
        excerpt: the first 200 characters.
        rows: how many rows this entry stands for (a damaged Parquet row group: more than one).
        cure: what would be right, where the rest of the file is lost with this row: such an entry stops the stage by
            itself, since nobody can say how many rows it stands for.
    """

    file: str
    line: int
    reason: str
    detail: str = ""
    place: str = ""
    excerpt: str = ""
    rows: int = 1
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The entry of the quarantine file."""
        return {
            "file": self.file,
            "line": self.line,
            "place": self.place,
            "reason": self.reason,
            "detail": self.detail,
            "rows": self.rows,
            "excerpt": self.excerpt[:EXCERPT],
        }

    def __str__(self) -> str:
        return f"{self.said}: {self.excerpt[:80]!r}"

    @property
    def said(self) -> str:
        """Where it stands, and what is wrong."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.file}:{self.line}: {self.reason}{detail}"


def count_reasons(bad: Sequence[BadRow]) -> dict[str, int]:
    """Rows per reason, the most frequent first (then by name)."""
    counts: Counter[str] = Counter()
    for row in bad:
        counts[row.reason] += row.rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_quarantine(path: Path, bad: Sequence[BadRow]) -> None:
    """Write the bad rows as JSON Lines, atomically; an empty file says that none was bad."""
    write_text(path, "".join(json.dumps(row.as_dict(), ensure_ascii=True) + "\n" for row in bad))


def too_many(
    bad: Sequence[BadRow], *, source: str, rows: int, allowed: float, file: Path | None, early: bool = False
) -> TooManyBadRows:
    """The error for a source with more bad rows than allowed: counts by reason and three examples."""
    count = sum(row.rows for row in bad)
    reasons = "; ".join(f"{number} × {reason}" for reason, number in count_reasons(bad).items())
    examples = "\n".join(f"  {row}" for row in bad[:3])
    read = f"the first {rows:,} rows read" if early else f"{rows:,} rows"
    return TooManyBadRows(
        f"{source}: {count:,} of {read} ({count / max(rows, 1):.1%}) cannot be used, at most {allowed:.1%} "
        f"may: {reasons}; mend the rows, choose the fitting form and columns, or raise max_bad_fraction"
        + (f"; all of them stand in {file}" if file else "")
        + f"; the first:\n{examples}"
    )
