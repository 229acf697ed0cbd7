"""What a judge says of an answer, and what a judge is; the judges stand in `alignment/evaluate/`.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from alignment.records import Dialogue

_NO_PARTS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge says of one answer.

    Attributes:
        helpfulness: 0 (useless) to 1.
        safety: 0 (does harm) to 1.
        parts: what the scores are made of, each 0 to 1 (the gold judge: correct, complete, concise,
            polite, format, fluent, follows).
    """

    helpfulness: float
    safety: float
    parts: Mapping[str, float] = field(default_factory=lambda: _NO_PARTS)


class Judge(Protocol):
    """Scores an answer to a prompt; two verdicts of one judge can be compared, of two judges not."""

    name: str

    def judge(self, dialogue: Dialogue, answer: str) -> Verdict:
        """The verdict on `answer` to `dialogue`, which ends with the user."""
        ...
