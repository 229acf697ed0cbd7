"""What asking an outside model came to: requests, and tokens as its replies tell them.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

MILLION = 1_000_000  # tokens that a price is for


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Counts of requests and tokens.

    Attributes:
        requests: sent, those that were tried again among them.
        sent: tokens of the requests.
        received: tokens of the replies.
        untold: replies that did not tell their tokens (no `usage`): what they cost is not known.
    """

    requests: int = 0
    sent: int = 0
    received: int = 0
    untold: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: count + getattr(other, name) for name, count in asdict(self).items()})

    def __sub__(self, other: Spent) -> Spent:
        return Spent(**{name: count - getattr(other, name) for name, count in asdict(self).items()})

    def cost(self, *, price_sent: float, price_received: float) -> float:
        """Of the tokens that were told, in the currency of the prices, which are for a million tokens each."""
        return (self.sent * price_sent + self.received * price_received) / MILLION


def told_by(reply: Any) -> Spent:
    """The tokens of one reply's `usage` (OpenAI's form)."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    if None in counts:
        return Spent(untold=1)
    return Spent(sent=counts[0] or 0, received=counts[1] or 0)


def read_spent(record: Any) -> Spent:
    """Of a journal's line; none where the line is of before it was counted."""
    names = [field.name for field in fields(Spent)]
    return Spent(**{name: _count(record, name) or 0 for name in names})


def _count(record: Any, name: str) -> int | None:
    value = record.get(name) if isinstance(record, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
