"""Every annotator's own file of verdicts: a journal that holds a verdict before the next item is shown.  No torch.

    samples/people/anna.jsonl
    {"item":…,"preferred":1,"grade":"better","first_safe":null,"second_safe":null,"sha256":…}

1 prefers the item's first answer, -1 its second, 0 neither.  Of two lines on one item the later one holds: people may
correct themselves.
"""

from __future__ import annotations

import fcntl
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.annotate.annotator import Verdict
from alignment.annotate.people.items import SAFETY, Item
from alignment.errors import CheckpointError, UsageError
from alignment.records import GRADES
from alignment.store.closing import Closing
from alignment.store.journal import Journal, read_journal

FOLDER = ("samples", "people")  # with the stage's other journals: what it goes on from, no part of its result
_NAME = re.compile(r"\w[\w.-]{0,39}")

Verdicts = dict[str, Verdict]  # item's id -> what one annotator says of it


def checked_name(name: str) -> str:
    """An annotator's name, fit for a file's.

    Raises:
        UsageError: it is not.
    """
    name = unicodedata.normalize("NFC", name)
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"the annotator's name is {name!r}; up to 40 letters, digits, _, - and . are right, a letter or digit first"
        )
    return name


def fault_of(
    campaign: str, preferred: Any, grade: Any, first_safe: Any, second_safe: Any, *, sides: Sequence[str]
) -> str | None:
    """What is wrong with a verdict, None where nothing is.

    Args:
        sides: what the two answers are called.
    """
    if type(preferred) is not int or preferred not in (1, 0, -1):
        return f"says neither {sides[0]} nor {sides[1]} nor unsure"
    if preferred and grade not in GRADES:
        return f"grade is {grade!r}; {', '.join(GRADES)} are right"
    if not preferred and grade is not None:
        return f"is unsure, and grade is {grade!r}; leave the grade out, or say which answer is better"
    for side, label in zip(sides, (first_safe, second_safe), strict=True):
        if campaign == SAFETY and not isinstance(label, bool):
            return f"{side}_safe is {label!r}; in the safety campaign true or false is needed"
        if campaign != SAFETY and label is not None:
            return f"{side}_safe is {label!r}; labels belong to the safety campaign, this item is of {campaign}"
    return None


def read_verdicts(stage: Path, items: Iterable[Item]) -> dict[str, Verdicts]:
    """Annotator -> verdicts, by name; whole lines only of files that somebody is writing to.

    Raises:
        CheckpointError: a line is damaged, no verdict, or of no item; names file and line.
    """
    known = {item.id: item for item in items}
    found: dict[str, Verdicts] = {}
    for path in sorted(stage.joinpath(*FOLDER).glob("*.jsonl")):
        found[path.stem] = _understood(read_journal(path), path, known)
    return found


class VerdictFile(Closing):
    """One annotator's file, held by one process.

    Args:
        stage: the stage's folder.

    Raises:
        UsageError: the name is none for a file, or another process writes for that annotator.
        CheckpointError: a line is damaged, no verdict, or of no item.
    """

    def __init__(self, stage: Path, name: str, items: Iterable[Item]) -> None:
        self.name = checked_name(name)
        self.path = stage.joinpath(*FOLDER, f"{self.name}.jsonl")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            self._journal = Journal(self.path)
            self.verdicts = _understood(self._journal.records, self.path, {item.id: item for item in items})
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def in_order(self) -> list[str]:
        """The items judged, in the order in which they were last judged."""
        return list(self.verdicts)

    def add(self, verdicts: Mapping[str, Verdict]) -> None:
        """Put verdicts (by item) on the disk, all or, where the disk is full, none."""
        rows = [
            {
                "item": item,
                "preferred": verdict.preferred,
                "grade": verdict.grade,
                "first_safe": verdict.first_safe,
                "second_safe": verdict.second_safe,
            }
            for item, verdict in verdicts.items()
        ]
        self._journal.append_all(rows)
        for item, verdict in verdicts.items():
            self.verdicts.pop(item, None)
            self.verdicts[item] = verdict

    def close(self) -> None:
        """Let another process have the file."""
        self._journal.close()
        os.close(self._lock)


def _locked(path: Path) -> int:
    """A handle that holds an annotator's file; the kernel lets go of it with the process."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise UsageError(f"{path} cannot be opened ({error.strerror}); an annotator's verdicts stand there") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(
            f"{path.stem} annotates in another process, which holds {path}; end it, or take another name with --name"
        ) from None
    return handle


def _understood(records: Sequence[Mapping[str, Any]], path: Path, items: Mapping[str, Item]) -> Verdicts:
    found: Verdicts = {}
    for line, record in enumerate(records, start=1):
        key = str(record.get("item"))
        if key not in items:
            raise CheckpointError(f"{path}:{line} is of an item that the stage does not have; move the file away")
        said = [record.get(name) for name in ("preferred", "grade", "first_safe", "second_safe")]
        if (fault := fault_of(items[key].campaign, *said, sides=("first", "second"))) is not None:
            raise CheckpointError(f"{path}:{line} is no verdict ({fault}); move the file away")
        found.pop(key, None)
        found[key] = verdict_of(path.stem, *said)
    return found


def verdict_of(name: str, preferred: Any, grade: Any, first_safe: Any, second_safe: Any) -> Verdict:
    """A verdict of values that `fault_of` has seen."""
    return Verdict(annotator=name, preferred=preferred, grade=grade, first_safe=first_safe, second_safe=second_safe)
