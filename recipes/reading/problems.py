"""pydantic's findings as problems with file:line, key, value and the nearest valid key.  No torch."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from alignment.errors import Problem
from alignment.strict_yaml import KeyPath, dotted
from recipes.masking import mask

Where = Callable[[KeyPath], str]

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list ([a, b])",
    "list_type": "a list ([a, b])",
    "dict_type": "a mapping (key: value)",
    "model_type": "a section (keys below it)",
    "model_attributes_type": "a section (keys below it)",
}
_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def problems_of(
    error: ValidationError, root: type[BaseModel], tree: Mapping[str, Any], *, where: Where, raw: Mapping[KeyPath, str]
) -> list[Problem]:
    """Every finding of a validation as a problem.

    Args:
        root: the model that was validated, for the nearest valid key.
        tree: the plain values that were validated.
        where: names the place of a path ("recipe.yaml:12").
        raw: strings as the recipe writes them, where variables were put in.
    """
    problems = []
    unknown: dict[KeyPath, str] = {}
    missing: list[tuple[KeyPath, str]] = []
    for detail in error.errors(include_url=False):
        path = _path_in(tree, detail["loc"], keep_last=detail["type"] in ("missing", "extra_forbidden"))
        if detail["type"] == "extra_forbidden":
            hint, near = _nearest(root, path)
            unknown[path] = near
            problems.append(Problem(where=where(path), key=dotted(path), message=f"unknown key{hint}"))
        elif detail["type"] == "missing":
            missing.append((path, _description(root, path)))
        elif detail["type"] != "too_short" or not detail.get("input"):  # full lists are short only by bad items
            problems.append(Problem(where=where(path), key=dotted(path), message=_message(detail, path, raw)))
    meant = {(*path[:-1], near) for path, near in unknown.items() if near}
    for path, description in missing:
        if path not in meant:  # the misspelt key has been named already
            message = f"is missing; {description}" if description else "is missing"
            problems.append(Problem(where=where(path[:-1]), key=dotted(path), message=message))
    return problems


def schema_keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key that a model knows, with its annotation; `*` stands for a list's index or a free key."""
    for name, info in model.model_fields.items():
        yield (*above, name), info
        inner, star = _model_in(info.annotation)
        if inner is not None:
            yield from schema_keys(inner, (*above, name, "*") if star else (*above, name))


def _message(detail: ErrorDetails, path: KeyPath, raw: Mapping[KeyPath, str]) -> str:
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx") or {}
    shown = _shown(raw.get(path, value))
    if kind in _EXPECTED:
        extra = ""
        if kind == "int_type" and isinstance(value, float) and value.is_integer():
            extra = f"; write {int(value)}"
        elif isinstance(value, str) and kind in ("int_type", "float_type") and _number_in(value):
            extra = f"; write {_number_in(value)} without quotes or separators"
        return f"is {shown}, {_expected_not(value)}; {_EXPECTED[kind]} is expected{extra}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"is {shown}; it must be {words} {context[name]}"
    if kind == "literal_error":
        choices = str(context.get("expected", ""))
        near = difflib.get_close_matches(
            str(value), [c.strip("'") for c in choices.replace(" or ", ", ").split(", ")], n=1
        )
        return f"is {shown}; it must be {choices}" + (f" (nearest: {near[0]})" if near else "")
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind in ("too_short", "string_too_short"):
        return f"is {shown}; at least {context['min_length']} item(s) are needed"
    if kind == "string_pattern_mismatch":
        return f"is {shown}; letters, digits, '.', '_' and '-' are allowed, the first a letter or digit"
    return f"is {shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _expected_not(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    names = {
        bool: "true/false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(type(value), type(value).__name__)


def _number_in(text: str) -> str | None:
    cleaned = text.replace("_", "").replace(",", "").strip()
    try:
        float(cleaned)
    except ValueError:
        return None
    return cleaned


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = mask(repr(value))
    return text if len(text) <= 80 else text[:77] + "…"


def _path_in(tree: Any, loc: Sequence[str | int], *, keep_last: bool) -> KeyPath:
    """The part of pydantic's location that is in the tree (it adds names of types for unions)."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(tree, dict) and part in tree:
            tree = tree[str(part)]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif not (keep_last and i == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _nearest(root: type[BaseModel], path: KeyPath) -> tuple[str, str]:
    """A hint for an unknown key, and the sibling that was probably meant ("" for none)."""
    section = _model_at(root, path[:-1])
    siblings = list(section.model_fields) if section else []
    key = str(path[-1])
    close = difflib.get_close_matches(key, siblings, n=1)
    if close:
        return f"; did you mean {close[0]!r}?", close[0]
    everywhere = [known for known, _ in schema_keys(root)]
    below = [known for known in everywhere if _fits(known, path[:-1]) and len(known) > len(path) and known[-1] == key]
    elsewhere = below or [known for known in everywhere if known[-1] == key]
    if elsewhere:
        found = elsewhere[0]
        real = (*path[:-1], *found[len(path) - 1 :]) if below else found
        return f"; did you mean {dotted(real)!r}?", ""
    return (f"; keys here: {', '.join(siblings)}" if siblings else ""), ""


def _fits(known: KeyPath, beginning: KeyPath) -> bool:
    return len(known) >= len(beginning) and all(k == "*" or k == b for k, b in zip(known, beginning, strict=False))


def _description(root: type[BaseModel], path: KeyPath) -> str:
    section = _model_at(root, path[:-1])
    info = section.model_fields.get(str(path[-1])) if section else None
    return info.description or "" if info else ""


def _model_at(root: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    skip_star = False
    for part in path:
        if skip_star:
            skip_star = False
            continue
        if model is None or part not in model.model_fields:
            return None
        model, skip_star = _model_in(model.model_fields[str(part)].annotation)
    return None if skip_star else model


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model inside an annotation, and whether a list or mapping stands between."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    star = origin in (list, tuple, dict, Mapping, Sequence)
    if origin is typing.Annotated:
        arguments = arguments[:1]
    if star or origin in (typing.Union, types.UnionType, typing.Annotated):
        for argument in arguments:
            model, deeper = _model_in(argument)
            if model is not None:
                return model, star or deeper
    return None, False
