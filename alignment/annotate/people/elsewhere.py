"""Items given to work elsewhere as plain JSON Lines, and what came back: all of it right, or nothing taken.  No torch.

    {"id":…,"campaign":…,"prompt":[…],"first":…,"second":…,"preferred":null,"grade":null,"first_safe":null,"second_safe":null}

`preferred` becomes "first", "second" or "unsure"; `annotator` may be added.  A line whose `preferred` is null, or not
there, is still open and is passed over.  Other members are nobody's matter.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.annotate.annotator import Verdict
from alignment.annotate.people.items import ITEMS_FILE, Item, read_items
from alignment.annotate.people.verdicts import VerdictFile, Verdicts, checked_name, fault_of, read_verdicts, verdict_of
from alignment.data.rows.lines import Broken, Line, read_lines
from alignment.errors import DataError, UsageError
from alignment.store.atomic import write_text

_TO_FILL = ("preferred", "grade", "first_safe", "second_safe")
_PREFERRED = {"first": 1, "second": -1, "unsure": 0}
_LONGEST_LINE = 10_000_000  # bytes
_MOST_FAULTS = 20  # told at once


@dataclass(frozen=True, kw_only=True)
class TakenIn:
    """What a file brought.

    Attributes:
        taken: annotator -> verdicts that are new.
        known: that were there already, the same.
        open: lines without a verdict.
    """

    taken: dict[str, int]
    known: int
    open: int


def export_items(stage: Path, file: Path) -> int:
    """Write a stage's items to a new file.

    Returns:
        How many.

    Raises:
        UsageError: the file is there already.
        CheckpointError: the items are damaged.
    """
    items = read_items(stage / ITEMS_FILE)
    if file.exists() or file.is_symlink():
        raise UsageError(f"{file} exists already, and may hold somebody's work; name a new file")
    lines = [json.dumps({**item.as_json(), **dict.fromkeys(_TO_FILL)}, ensure_ascii=False) for item in items]
    try:
        write_text(file, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    return len(items)


def import_verdicts(stage: Path, file: Path, name: str | None = None) -> TakenIn:
    """Take in the verdicts of a file, if every line of it is right.

    Args:
        name: the annotator of every line; None: each line says its own.

    Raises:
        DataError: lines are wrong, each told with its number, or the file cannot be read; nothing was taken.
        UsageError: the name is none, or the annotator is at work in another process.
        CheckpointError: the stage's items or verdicts are damaged.
    """
    items = read_items(stage / ITEMS_FILE)
    reading = _Reading(
        file=file,
        items={item.id: item for item in items},
        there=read_verdicts(stage, items),
        name=checked_name(name) if name is not None else None,
    )
    reading.read()
    if reading.faults:
        told = "\n".join(f"  {fault}" for fault in reading.faults[:_MOST_FAULTS])
        more = f"\n  and {len(reading.faults) - _MOST_FAULTS:,} more" if len(reading.faults) > _MOST_FAULTS else ""
        lines = f"{len(reading.faults):,} line{'s' * (len(reading.faults) > 1)}"
        raise DataError(f"nothing is taken of {file}, {lines} of which cannot be:\n{told}{more}")
    with ExitStack() as held:  # every file before the first line: one that is in use stops them all
        files = {who: held.enter_context(VerdictFile(stage, who, items)) for who in sorted(reading.new)}
        for who, verdicts in files.items():
            verdicts.add(reading.new[who])
    taken = {who: len(new) for who, new in sorted(reading.new.items())}
    return TakenIn(taken=taken, known=reading.known, open=reading.open)


class _Fault(ValueError):
    """A line that cannot be taken."""


class _Reading:
    """A file on its way in."""

    def __init__(
        self, *, file: Path, items: Mapping[str, Item], there: Mapping[str, Verdicts], name: str | None
    ) -> None:
        self.file, self.items, self.there, self.name = file, items, there, name
        self.new: dict[str, dict[str, Verdict]] = defaultdict(dict)
        self.lines: dict[tuple[str, str], int] = {}  # (annotator, item) -> the line that judges it
        self.faults: list[str] = []
        self.known = self.open = 0

    def read(self) -> None:
        for number, row in self._rows():
            try:
                self._take(number, row)
            except _Fault as fault:
                self.faults.append(f"{self.file}:{number}: {fault}")
        if not self.faults and not self.lines and not self.open:
            raise DataError(f"{self.file} holds no line; nothing is taken")

    def _rows(self) -> Iterator[tuple[int, Any]]:
        number = 0
        for line in read_lines(self.file, max_bytes=_LONGEST_LINE):
            if isinstance(line, Line):
                number = line.number
                try:
                    if line.data is None:
                        raise ValueError(f"longer than {_LONGEST_LINE:,} bytes")
                    row = json.loads(line.data)
                    if not isinstance(row, dict):
                        raise ValueError(f"{type(row).__name__}, not an object")
                    yield number, row
                except (ValueError, RecursionError) as error:
                    self.faults.append(f"{self.file}:{number}: is no JSON object ({error})")
            elif isinstance(line, Broken):
                self.faults.append(f"{self.file}:{line.number}: cannot be read on ({line.reason})")

    def _take(self, number: int, row: Mapping[str, Any]) -> None:
        item = self._item(row)
        said = row.get("preferred")
        if said is None:
            if any(row.get(name) is not None for name in _TO_FILL):
                raise _Fault("has a grade or a label and no preferred; first, second or unsure is right")
            self.open += 1
            return
        preferred = _PREFERRED.get(said, 9) if isinstance(said, str) else 9
        if preferred == 9:
            raise _Fault(f"preferred is {said!r:.60}; {', '.join(_PREFERRED)} are right")
        rest = [row.get(name) for name in _TO_FILL[1:]]
        if (fault := fault_of(item.campaign, preferred, *rest, sides=("first", "second"))) is not None:
            raise _Fault(fault)
        who = self._annotator(row)
        if (earlier := self.lines.get((who, item.id))) is not None:
            raise _Fault(f"{who} judges item {item.id} here and in line {earlier}; one verdict is right")
        self.lines[who, item.id] = number
        verdict = verdict_of(who, preferred, *rest)
        before = self.there.get(who, {}).get(item.id)
        if before is None:
            self.new[who][item.id] = verdict
        elif before == verdict:
            self.known += 1
        else:
            raise _Fault(
                f"{who} has judged item {item.id} already, and otherwise; take the line out, or correct it on the page"
            )

    def _item(self, row: Mapping[str, Any]) -> Item:
        if "id" not in row:
            raise _Fault("has no id; each line needs the id that it was exported with")
        item = self.items.get(row["id"]) if isinstance(row["id"], str) else None
        if item is None:
            raise _Fault(f"there is no item {row['id']!r:.60} here; it is another run's, or its id was changed")
        for name, value in item.as_json().items():
            if name in row and row[name] != value:
                raise _Fault(f"{name} of item {item.id} is not what was exported; restore it, or leave it out")
        return item

    def _annotator(self, row: Mapping[str, Any]) -> str:
        said = row.get("annotator")
        if said is None and self.name is None:
            raise _Fault("nobody says whose verdict it is; add annotator to the line, or give --name")
        if said is None:
            return str(self.name)
        try:
            who = checked_name(said if isinstance(said, str) else repr(said))
        except UsageError as error:
            raise _Fault(str(error)) from None
        if self.name not in (None, who):
            raise _Fault(f"annotator is {who!r}, and --name says {self.name!r}; leave one of the two out")
        return who


def who_judged(stage: Path) -> tuple[Sequence[Item], dict[str, Verdicts]]:
    """A stage's items, and everybody's verdicts on them."""
    items = read_items(stage / ITEMS_FILE)
    return items, read_verdicts(stage, items)
