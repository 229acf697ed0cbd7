"""What people are asked: blind items, one a line of `items.jsonl`.  No torch.

    {"id":…,"campaign":…,"prompt":[{"role":…,"content":…},…],"first":…,"second":…,"twice":false,"sha256":…}

Which answer is the first was drawn when the pair was, and nothing says of which model or temperature an answer is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.annotate.annotator import Question
from alignment.errors import CheckpointError
from alignment.store.atomic import whole_file
from alignment.store.regular import read_regular
from alignment.store.sealed import sealed_line, unseal

ITEMS_FILE = "items.jsonl"
SAFETY = "safety"  # the campaign in which each answer is labelled too


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question as people see it.

    Attributes:
        id: digest of the stage's fingerprint, the prompt and both answers: another run's items have others.
        prompt: (role, text) of each message, a system message first.
        twice: whether a second person is to judge it too.
    """

    id: str
    campaign: str
    prompt: tuple[tuple[str, str], ...]
    first: str
    second: str
    twice: bool = False

    def as_json(self) -> dict[str, Any]:
        """The item without its place among the others."""
        prompt = [{"role": role, "content": text} for role, text in self.prompt]
        return {
            "id": self.id,
            "campaign": self.campaign,
            "prompt": prompt,
            "first": self.first,
            "second": self.second,
        }


def item_of(question: Question, scope: str, *, twice: bool = False) -> Item:
    """A question as an item.

    Args:
        scope: what tells one run's stage from another's, its fingerprint.
    """
    dialogue = question.prompt
    system = [("system", dialogue.system)] if dialogue.system is not None else []
    prompt = (*system, *((turn.role, turn.content) for turn in dialogue.turns))
    named = json.dumps([scope, question.key, prompt], ensure_ascii=True)
    return Item(
        id=hashlib.sha256(named.encode()).hexdigest()[:24],
        campaign=question.campaign,
        prompt=prompt,
        first=question.first,
        second=question.second,
        twice=twice,
    )


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write the items as a whole file; the same items give the same bytes."""
    with whole_file(path) as file:
        for item in items:
            file.write(sealed_line({**item.as_json(), "twice": item.twice}))


def read_items(path: Path) -> Sequence[Item]:
    """The items that `write_items` wrote, in its order.

    Raises:
        CheckpointError: the file cannot be read, or a line is not as it was written; names it.
    """
    try:
        lines = read_regular(path).split(b"\n")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from None
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            value, sealed = unseal(line)
            if not sealed:
                raise ValueError("it has no checksum")
            prompt = tuple((str(turn["role"]), str(turn["content"])) for turn in value.pop("prompt"))
            found.append(Item(**{**value, "prompt": prompt}))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"{path}:{number} is not as it was written ({error}); let the stage run again, which writes it anew"
            ) from None
    return found
