"""What is made in order and needed again: made once, as far as somebody has asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Remembered(Generic[Item]):
    """Iterates over the same items any number of times; each is made when it is first asked for.

    Args:
        makes: the items, from the first on.
    """

    def __init__(self, makes: Iterator[Item]) -> None:
        self._makes = makes
        self._made: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        at = 0
        while at < len(self._made) or self._make():
            yield self._made[at]
            at += 1

    def _make(self) -> bool:
        for item in self._makes:
            self._made.append(item)
            return True
        return False
