"""Dotted overrides of the command line: `sft.optimizer.learning_rate=1e-5`, in YAML's value syntax.  No torch.

A key names a field (`sft.epochs`) or a list's item (`sft.data.sources.0.path`); the value is YAML
(`2`, `1e-5`, `true`, `null`, `[1, 2]`, `{a: 1}`, any other text).  Sections that are absent are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignment.errors import Problem, RecipeError
from alignment.strict_yaml import MAX_DEPTH, KeyPath, YamlDocument, dotted, parse_yaml


@dataclass(kw_only=True)
class Overridden:
    """A tree after its overrides.

    Attributes:
        value: the tree (a new one).
        origins: path of what an override set, as text parts -> how to name that override in a problem.
        problems: overrides that could not be applied.
    """

    value: Any
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def apply_overrides(document: YamlDocument, overrides: Sequence[str]) -> Overridden:
    """Put overrides into a document's values, later ones over earlier ones."""
    result = Overridden(value=_copy(document.value))
    for text in overrides:
        where = f"override {text!r}"
        name, equals, raw = text.partition("=")
        if not equals or not name.strip():
            message = "has no '='; write key=value, as in sft.epochs=2" if not equals else "names no key before '='"
            result.problems.append(Problem(where=where, key="", message=message))
            continue
        path = _path(name.strip())
        if "" in path or len(path) > MAX_DEPTH:
            message = "an empty part between dots" if "" in path else f"more than {MAX_DEPTH} parts"
            result.problems.append(Problem(where=where, key=name.strip()[:200], message=message))
            continue
        try:
            parsed = parse_yaml(raw, name=where)
        except RecipeError as error:
            result.problems.extend(
                Problem(where=where, key=name.strip(), message=problem.message + "; quote the value if it is text")
                for problem in error.problems
            )
            continue
        result.problems.extend(
            Problem(
                where=where, key=dotted((*path, problem.key)) if problem.key else name.strip(), message=problem.message
            )
            for problem in parsed.problems
        )
        try:
            result.value = _set(result.value, path, parsed.value, ())
        except ValueError as error:
            result.problems.append(Problem(where=where, key=name.strip(), message=str(error)))
            continue
        result.origins[tuple(str(part) for part in path)] = where
    return result


def origin_of(path: KeyPath, origins: Mapping[tuple[str, ...], str]) -> str | None:
    """The override that set the value at `path` or something above it, if any did."""
    parts = tuple(str(part) for part in path)
    for length in range(len(parts), 0, -1):
        if parts[:length] in origins:
            return origins[parts[:length]]
    return None


def _path(name: str) -> KeyPath:
    return tuple(
        int(part) if part.isdecimal() and part.isascii() and len(part) < 10 else part for part in name.split(".")
    )


def _set(tree: Any, path: KeyPath, value: Any, above: KeyPath) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    here = (*above, part)
    if isinstance(tree, list):
        if not isinstance(part, int):
            raise ValueError(
                f"{dotted(above)} is a list; {part!r} is no index of its {len(tree)} item(s), counted from 0"
            )
        if part >= len(tree):
            raise ValueError(f"{dotted(above)} has {len(tree)} item(s), counted from 0; there is no item {part}")
        return [_set(item, rest, value, here) if i == part else item for i, item in enumerate(tree)]
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ValueError(f"{dotted(above)} is {tree!r}, a plain value; it has no {part!r} below it")
    return {**tree, str(part): _set(tree.get(str(part)), rest, value, here)}


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(item) for key, item in tree.items()}
    return [_copy(item) for item in tree] if isinstance(tree, list) else tree
