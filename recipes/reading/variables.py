"""`${NAME}` and `${NAME:-default}` in a recipe's strings, taken from the environment.  No torch.

The unexpanded text is kept beside the value: a run's `recipe.yaml` names variables, never their values.
`$${` stands for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alignment.strict_yaml import KeyPath

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^{}]*)\}|\$\{")
_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """A string that named variables.

    Attributes:
        raw: as the recipe writes it.
        value: with the variables' values.
        names: the variables, in order.
    """

    raw: str
    value: str
    names: tuple[str, ...]


class UnsetVariable(ValueError):
    """A variable without a value and without a default, or a reference that is none."""


def expand(text: str, environment: Mapping[str, str]) -> Expansion:
    """Put variables' values into a text; an empty variable with a default takes the default, as in a shell.

    Raises:
        UnsetVariable: a sentence that names the variable.
    """
    names: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match.group(0) == "$${":
            return "${"
        inside = _NAME.fullmatch(match.group("inside") or "")
        if inside is None:
            raise UnsetVariable(
                f"{match.group(0)!r} is no variable; write ${{NAME}} or ${{NAME:-default}}, or $${{ for a plain ${{"
            )
        name, default = inside.group("name"), inside.group("default")
        names.append(name)
        value = environment.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise UnsetVariable(
                f"the variable {name} is not set; set it (export {name}=…) or write ${{{name}:-default}}"
            )
        return value

    return Expansion(raw=text, value=_REFERENCE.sub(replaced, text), names=tuple(names))


def names_in(text: str) -> list[str]:
    """The variables that a text names, well-formed ones only."""
    inside = (_NAME.fullmatch(match.group("inside") or "") for match in _REFERENCE.finditer(text))
    return [match.group("name") for match in inside if match is not None]


def strings_below(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every string of a tree of plain values, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_below(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings_below(item, (*path, index))


def replaced_at(value: Any, replacements: Mapping[KeyPath, str], path: KeyPath = ()) -> Any:
    """A copy of a tree with other strings at some paths."""
    if isinstance(value, dict):
        return {key: replaced_at(item, replacements, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced_at(item, replacements, (*path, index)) for index, item in enumerate(value)]
    return replacements.get(path, value)
