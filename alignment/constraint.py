"""Instructions that can be checked: what Ghost Attention must keep over many turns (Llama 2 paper, 3.3).

A constraint is data: a kind, an argument, and two wordings, since half of the time the paper writes the
instruction tersely.  The check needs no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from alignment.errors import DataError

Rule = Literal["ends_with", "starts_with", "contains", "never_word", "max_words", "uppercase"]
RULES: tuple[Rule, ...] = get_args(Rule)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One instruction with its check.

    Attributes:
        id: names it in reports.
        kind: which check.
        argument: the word or words ("ends_with" … "never_word"), a number ("max_words"), or "" ("uppercase").
        instruction: the full wording, used as the system message.
        short: the terse wording.
    """

    id: str
    kind: Rule
    argument: str | int
    instruction: str
    short: str

    def __post_init__(self) -> None:
        if self.kind not in RULES:
            raise DataError(f"constraint {self.id!r}: kind is {self.kind!r}; it must be one of {', '.join(RULES)}")
        if self.kind == "max_words":
            if not isinstance(self.argument, int) or isinstance(self.argument, bool) or self.argument < 1:
                raise DataError(
                    f"constraint {self.id!r}: argument is {self.argument!r}; max_words takes a number from 1"
                )
        elif self.kind == "uppercase":
            if self.argument != "":
                raise DataError(f'constraint {self.id!r}: argument is {self.argument!r}; uppercase takes none ("")')
        elif not isinstance(self.argument, str) or not _words(self.argument):
            raise DataError(f"constraint {self.id!r}: argument is {self.argument!r}; {self.kind} takes a word or words")
        if not self.instruction.strip() or not self.short.strip():
            raise DataError(f"constraint {self.id!r}: instruction and short must both say something; one is empty")

    def satisfied(self, answer: str) -> bool:
        """Whether the answer follows the instruction; an empty answer never does."""
        words = _words(answer)
        if not words:
            return False
        if self.kind == "max_words":
            return len(words) <= int(self.argument)
        if self.kind == "uppercase":
            return answer.upper() == answer and answer.lower() != answer
        wanted = _words(str(self.argument))
        if self.kind == "ends_with":
            return words[-len(wanted) :] == wanted
        if self.kind == "starts_with":
            return words[: len(wanted)] == wanted
        held = any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))
        return held if self.kind == "contains" else not held

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `meta` and for files."""
        return {
            "id": self.id,
            "kind": self.kind,
            "argument": self.argument,
            "instruction": self.instruction,
            "short": self.short,
        }


def constraint_from_json(values: Mapping[str, Any], where: str) -> Constraint:
    """A constraint from plain values.

    Args:
        where: file and row, for the message.

    Raises:
        DataError: a key is missing or unknown, or a value does not fit the kind.
    """
    keys = {"id", "kind", "argument", "instruction", "short"}
    missing, extra = sorted(keys - {"argument"} - set(values)), sorted(map(str, set(values) - keys))
    if missing or extra:
        fault = f"lacks {', '.join(missing)}" if missing else f"has the unknown key {', '.join(extra)}"
        raise DataError(f"{where}: the constraint {fault}; its keys are {', '.join(sorted(keys))}")
    for key in ("id", "kind", "instruction", "short"):
        if not isinstance(values[key], str):
            raise DataError(f"{where}: {key} is {values[key]!r:.80}; it must be text")
    try:
        return Constraint(**{"argument": "", **values})
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def names_yaml(where: str) -> bool:
    """Whether a setting that says where constraints come from names a file of them."""
    return where.endswith((".yaml", ".yml"))


def require_source(where: str) -> str:
    """The same text, if it says where constraints come from: `world`, `builtin`, or a .yaml file.

    Raises:
        ValueError: it is none of these.
    """
    if where not in ("world", "builtin") and not names_yaml(where):
        raise ValueError(f"is {where!r}; it must be 'world', 'builtin' or a .yaml file of constraints")
    return where
