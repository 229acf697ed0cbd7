"""What `align check` finds out about one section's data.  No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.data.corpus import DataReport


@dataclass(kw_only=True)
class SectionCheck:
    """What one section's data came to.

    Attributes:
        key: the recipe's dotted key ("sft", "reward.safety", "rlhf.prompts").
        kind: documents, dialogues, preferences or prompts.
        report: the reader's own report; None if it failed.
        error: why the data cannot be used.
        bad: some of the rows set aside, as text.
        train, held_out: the records.
        lengths: tokens of each training record.
        context: the longest that the stage takes.
        policy: what happens to longer ones: name -> how many.
        steps: optimizer steps of the stage, None where data alone do not say.
        pieces: pieces counted for the tokenizer's fit: all, byte pieces, unknown.
    """

    key: str
    kind: str
    report: DataReport | None = None
    error: str | None = None
    bad: list[str] = field(default_factory=list)
    train: Sequence[Any] = ()
    held_out: Sequence[Any] = ()
    lengths: list[int] = field(default_factory=list)
    context: int = 0
    policy: dict[str, int] = field(default_factory=dict)
    steps: int | None = None
    pieces: tuple[int, int, int] = (0, 0, 0)

    @property
    def over(self) -> int:
        """Training records longer than the context."""
        return sum(length > self.context for length in self.lengths)
