"""Comparisons that nothing can be learnt from: unsafe answers preferred to safe ones, and pairs that contradict.

Llama 2 paper, 3.2.1: no example is kept whose chosen answer is unsafe and the other safe.  They are set aside and
counted by name; they are no faults of a file, so that no number of them stops a stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeGuard

from alignment.data.identity import Record, prompt_key
from alignment.data.rows.quarantine import BadRow
from alignment.records import Preference

UNSAFE_CHOSEN = "the chosen answer is unsafe and the rejected one safe"
CONTRADICTION = "another pair prefers the other answer"
WORLD = "world:"  # the town's annotators differ on purpose, and its pairs are right by construction


def set_aside(records: Sequence[Record], bad: list[BadRow]) -> tuple[list[Record], dict[str, int]]:
    """Leave out the pairs that teach nothing.

    Of two pairs of one prompt (case, width and white space do not count) that prefer opposite answers neither is kept,
    however often either stands there.

    Args:
        bad: the pairs left out are added here.

    Returns:
        The records that stay, in order, and reason -> pairs left out.
    """
    directions = {_direction(pair) for pair in records if _is_users(pair) and not _prefers_unsafe(pair)}
    kept: list[Record] = []
    counts: Counter[str] = Counter()
    for record in records:
        if _is_users(record) and (reason := _reason(record, directions)) is not None:
            counts[reason] += 1
            bad.append(_entry(record, reason))
        else:
            kept.append(record)
    return kept, dict(counts)


def _is_users(record: Record) -> TypeGuard[Preference]:
    return isinstance(record, Preference) and not record.source.file.startswith(WORLD)


def _prefers_unsafe(pair: Preference) -> bool:
    return pair.chosen_safe is False and pair.rejected_safe is True


def _direction(pair: Preference) -> tuple[str, str, str]:
    """The prompt, the better answer and the worse one, without what does not count."""
    return prompt_key(pair.prompt), " ".join(pair.chosen.split()), " ".join(pair.rejected.split())


def _reason(pair: Preference, directions: set[tuple[str, str, str]]) -> str | None:
    if _prefers_unsafe(pair):
        return UNSAFE_CHOSEN
    prompt, chosen, rejected = _direction(pair)
    return CONTRADICTION if chosen != rejected and (prompt, rejected, chosen) in directions else None


def _entry(pair: Preference, reason: str) -> BadRow:
    asked = pair.prompt.turns[-1].content if pair.prompt.turns else ""
    return BadRow(file=pair.source.file, line=pair.source.line, reason=reason, excerpt=f"{asked} | {pair.chosen}")
