"""Instructions that can be checked: what Ghost Attention must keep over many turns (Llama 2 paper, 3.3).

A constraint is data: a kind, an argument, and two wordings, since half of the time the paper writes the
instruction tersely.  The check needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from alignment.clash import clash
from alignment.errors import DataError
from alignment.rules import RULES, Rule, argument_fault, kept, takes, words

__all__ = ["RULES", "Constraint", "Rule", "combine", "constraint_from_json", "names_yaml", "require_source"]
SOURCES = ("world", "builtin", "kinds")


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One instruction with its check.

    Attributes:
        id: names it in reports.
        kind: which check (`alignment/rules.py`).
        argument: the word or words ("ends_with", "contains", …), a number ("max_words", …), a regular expression
            ("pattern"), or "" ("uppercase", …, "combined").
        instruction: the full wording, used as the system message.
        short: the terse wording.
        paraphrases: other full wordings.
        parts: of "combined": the constraints that are all to be kept.
    """

    id: str
    kind: Rule
    argument: str | int
    instruction: str
    short: str
    paraphrases: tuple[str, ...] = ()
    parts: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in RULES:
            raise DataError(f"constraint {self.id!r}: kind is {self.kind!r}; it must be one of {', '.join(RULES)}")
        if fault := argument_fault(self.kind, self.argument):
            raise DataError(f"constraint {self.id!r}: argument is {self.argument!r:.80}; {fault}")
        if not all(text.strip() for text in (self.instruction, self.short, *self.paraphrases)):
            raise DataError(f"constraint {self.id!r}: instruction and short must both say something; one is empty")
        if (self.kind == "combined") != (len(self.parts) > 1):
            raise DataError(f"constraint {self.id!r}: combined takes two parts or more, and no other kind has any")
        if any(part.parts for part in self.parts):
            raise DataError(f"constraint {self.id!r}: one of its parts is combined itself; name what that one combines")
        for one, other in combinations(self.parts, 2):
            if fault := clash((one.kind, one.argument), (other.kind, other.argument)):
                raise DataError(f"constraint {self.id!r}: {one.id!r} and {other.id!r} contradict: {fault}")

    def satisfied(self, answer: str) -> bool:
        """Whether the answer follows the instruction; an empty answer never does."""
        if self.parts:
            return all(part.satisfied(answer) for part in self.parts)
        return kept(self.kind, self.argument, answer)

    @property
    def kinds(self) -> tuple[Rule, ...]:
        """Its kind, or those of its parts, in alphabetical order."""
        return tuple(sorted({part.kind for part in self.parts})) if self.parts else (self.kind,)

    @property
    def asks(self) -> tuple[tuple[str, str], ...]:
        """What it asks for, whatever the wording: kind and argument (words without case and signs), of every part."""
        if self.parts:
            return tuple(sorted(asked for part in self.parts for asked in part.asks))
        value = str(self.argument)
        return ((self.kind, " ".join(words(value)) if takes(self.kind) == "words" else value),)

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every full wording, `instruction` first."""
        return (self.instruction, *self.paraphrases)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `meta` and for files."""
        plain: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "argument": self.argument,
            "instruction": self.instruction,
            "short": self.short,
        }
        if self.paraphrases:
            plain["paraphrases"] = list(self.paraphrases)
        if self.parts:
            plain["parts"] = [part.to_json() for part in self.parts]
        return plain


def combine(
    parts: Sequence[Constraint],
    *,
    name: str = "",
    instruction: str = "",
    short: str = "",
    paraphrases: Sequence[str] = (),
) -> Constraint:
    """Several constraints as one (the paper combines them at random); the texts are the parts' unless they are given.

    Raises:
        DataError: they are fewer than two, one is combined itself, or two contradict each other.
    """
    if not paraphrases and not instruction:
        paraphrases = [" ".join(texts) for texts in zip(*(part.paraphrases for part in parts), strict=False)]
    return Constraint(
        id=name or "+".join(part.id for part in parts),
        kind="combined",
        argument="",
        instruction=instruction or " ".join(part.instruction for part in parts),
        short=short or "; ".join(part.short for part in parts),
        paraphrases=tuple(paraphrases),
        parts=tuple(parts),
    )


def constraint_from_json(
    values: Mapping[str, Any], where: str, known: Mapping[str, Constraint] | None = None
) -> Constraint:
    """A constraint from plain values.

    Args:
        where: file and row, for the message.
        known: by id, what the parts of a combined one may name; such a one needs no texts of its own.

    Raises:
        DataError: a key is missing or unknown, a value does not fit the kind, a part is not known, or two contradict.
    """
    combined = values.get("kind") == "combined"
    needed = {"id", "kind", "parts"} if combined else {"id", "kind", "instruction", "short"}
    keys = needed | {"argument", "instruction", "short", "paraphrases"}
    missing, extra = sorted(needed - set(values)), sorted(map(str, set(values) - keys))
    if missing or extra:
        fault = f"lacks {', '.join(missing)}" if missing else f"has the unknown key {', '.join(extra)}"
        raise DataError(f"{where}: the constraint {fault}; its keys are {', '.join(sorted(keys))}")
    for key in ("id", "kind", "instruction", "short"):
        if key in values and not isinstance(values[key], str):
            raise DataError(f"{where}: {key} is {values[key]!r:.80}; it must be text")
    paraphrases = values.get("paraphrases", [])
    if not isinstance(paraphrases, list) or not all(isinstance(text, str) for text in paraphrases):
        raise DataError(f"{where}: paraphrases is {paraphrases!r:.80}; it must be a list of texts")
    try:
        if combined:
            parts = [_part(named, where, known or {}) for named in _listed(values["parts"], where)]
            texts = {key: values[key] for key in ("instruction", "short") if key in values}
            return combine(parts, name=values["id"], paraphrases=paraphrases, **texts)
        return Constraint(**{"argument": "", **values, "paraphrases": tuple(paraphrases)})
    except DataError as error:
        said = str(error)
        raise DataError(said if said.startswith(where) else f"{where}: {said}") from None


def _listed(parts: Any, where: str) -> list[Any]:
    if not isinstance(parts, list):
        raise DataError(f"{where}: parts is {parts!r:.80}; it must be a list of ids")
    return parts


def _part(named: Any, where: str, known: Mapping[str, Constraint]) -> Constraint:
    """A part by its id, or written out as `to_json` writes it."""
    if isinstance(named, Mapping):
        return constraint_from_json(named, where)
    if not isinstance(named, str) or named not in known:
        raise DataError(f"{where}: the part {named!r:.80} is no id of a constraint that stands before it")
    return known[named]


def names_yaml(where: str) -> bool:
    """Whether a setting that says where constraints come from names a file of them."""
    return where.endswith((".yaml", ".yml"))


def require_source(where: str) -> str:
    """The same text, if it says where constraints come from: `world`, `builtin`, `kinds`, or a .yaml file.

    Raises:
        ValueError: it is none of these.
    """
    if where not in SOURCES and not names_yaml(where):
        said = ", ".join(map(repr, SOURCES))
        raise ValueError(f"is {where!r}; it must be {said} or a .yaml file of constraints")
    return where
