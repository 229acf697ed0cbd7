"""One annotator at work: which item comes next, on which side its answers stand, what becomes of a verdict.  No torch.

First come items that nobody has judged, in an order of the annotator's own, so that two at work seldom meet; then those
that a second person is to judge and one other has.  Helpfulness comes before safety: each has guidelines of its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.annotate.people.agreement import people_agree
from alignment.annotate.people.items import ITEMS_FILE, SAFETY, Item, read_items
from alignment.annotate.people.verdicts import (
    VerdictFile,
    Verdicts,
    fault_of,
    read_verdicts,
    verdict_of,
)
from alignment.errors import UsageError
from alignment.randomness import named_seed
from alignment.store.closing import Closing

LEFT, RIGHT, UNSURE = "left", "right", "unsure"


def left_is_second(item: Item, name: str) -> bool:
    """Whether an annotator sees the item's second answer on the left: a draw by item and name."""
    return bool(named_seed(0, "sides", item.id, name) & 1)


class Desk(Closing):
    """An annotator's place at a stage; its calls may come from several threads.

    Args:
        stage: the stage's folder.
        name: the annotator's.
        closed: why verdicts are taken no more, as a sentence; None while they are.

    Raises:
        UsageError: the name is none for a file, or is at work in another process.
        CheckpointError: the items or verdicts are damaged.
    """

    def __init__(self, stage: Path, name: str, closed: Callable[[], str | None] = lambda: None) -> None:
        self.items = read_items(stage / ITEMS_FILE)
        self._known = {item.id: item for item in self.items}
        self._stage, self._closed, self._turn = stage, closed, threading.Lock()
        self._file = VerdictFile(stage, name, self.items)
        self.name = self._file.name
        self.began_with = len(self._file.verdicts)
        self._queue = sorted(
            self.items, key=lambda item: (item.campaign == SAFETY, named_seed(0, "queue", item.id, self.name))
        )
        self._read: tuple[Any, dict[str, Verdicts]] = (None, {})

    def asked_next(self) -> Item | None:
        """The item to judge; None where nothing waits for this annotator."""
        with self._turn:
            waiting = self._waiting_for_me()
            return waiting[0] if waiting else None

    def before(self, item: str | None) -> Item | None:
        """The item that this annotator judged before another, or last; to be looked at again."""
        with self._turn:
            order = self._file.in_order
            at = order.index(item) if item in order else len(order)
            return self._known[order[at - 1]] if at > 0 else None

    def shown(self, item: Item) -> dict[str, Any]:
        """An item as the page shows it, with this annotator's earlier verdict if there is one."""
        answers = [item.first, item.second]
        said = self._file.verdicts.get(item.id)
        earlier = None
        if said is not None:
            sides = self._swapped(item, [said.first_safe, said.second_safe])
            at_left = said.preferred * (-1 if left_is_second(item, self.name) else 1)
            preferred = {1: LEFT, -1: RIGHT, 0: UNSURE}[at_left]
            earlier = {"preferred": preferred, "grade": said.grade, "left_safe": sides[0], "right_safe": sides[1]}
        left, right = self._swapped(item, answers)
        return {
            "id": item.id,
            "campaign": item.campaign,
            "prompt": item.as_json()["prompt"],
            "left": left,
            "right": right,
            "earlier": earlier,
        }

    def take(self, said: Mapping[str, Any]) -> None:
        """Put a verdict as the page sends it on the disk.

        Args:
            said: `id`, `preferred` (left, right or unsure), `grade`, `left_safe`, `right_safe`.

        Raises:
            UsageError: it is no verdict, of no item, or the stage takes none any more.
            DiskFull: there is no space for it.
        """
        item = self._known.get(str(said.get("id")))
        if item is None:
            raise UsageError(f"there is no item {said.get('id')!r:.60}; load the page again")
        at_left = {LEFT: 1, RIGHT: -1, UNSURE: 0}.get(str(said.get("preferred")), 9)
        labels = (said.get("left_safe"), said.get("right_safe"))
        if (fault := fault_of(item.campaign, at_left, said.get("grade"), *labels, sides=(LEFT, RIGHT))) is not None:
            raise UsageError(f"the verdict {fault}")
        first_safe, second_safe = self._swapped(item, labels)
        preferred = -at_left if left_is_second(item, self.name) else at_left
        with self._turn:
            if (why := self._closed()) is not None:
                raise UsageError(why)
            self._file.add({item.id: verdict_of(self.name, preferred, said.get("grade"), first_safe, second_safe)})

    def progress(self) -> dict[str, Any]:
        """How far all are and how far this annotator is, and how well they agree."""
        with self._turn:
            everybody = self._everybody()
            judged = {key for own in everybody.values() for key in own}
            return {
                "name": self.name,
                "items": len(self.items),
                "waiting": len(self.items) - len(judged),
                "for_me": len(self._waiting_for_me()),
                "people": {name: len(own) for name, own in everybody.items()},
                "agreement": asdict(people_agree(everybody)),
            }

    def close(self) -> None:
        """Let another process have the annotator's file."""
        self._file.close()

    def _swapped(self, item: Item, both: Sequence[Any]) -> list[Any]:
        """Item's order to the page's order, and back."""
        return list(both[::-1] if left_is_second(item, self.name) else both)

    def _everybody(self) -> dict[str, Verdicts]:
        """Everybody's verdicts; files are read again when one of them has changed."""
        folder = self._file.path.parent
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.jsonl"))]
        if self._read[0] != facts:
            self._read = (facts, read_verdicts(self._stage, self.items))
        return {**self._read[1], self.name: self._file.verdicts}

    def _waiting_for_me(self) -> list[Item]:
        mine = self._file.verdicts
        counts = Counter(key for own in self._everybody().values() for key in own)
        fresh = [item for item in self._queue if not counts[item.id]]
        return fresh + [item for item in self._queue if item.twice and counts[item.id] == 1 and item.id not in mine]
