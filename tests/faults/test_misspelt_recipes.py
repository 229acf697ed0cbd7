"""R21: every key of every shipped recipe, spoilt in each way that hands do, is told with file, line, key and value.

The recipes are laid out anew with one key a line, so that every fault has a line of its own.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.errors import RecipeError
from alignment.strict_yaml import KeyPath, parse_yaml, read_yaml
from recipes.cli import main
from recipes.load import build_recipe, shipped_recipes
from recipes.reading.problems import schema_keys
from recipes.reading.schema import Recipe
from recipes.reading.variables import names_in

FREE = {"columns", "roles", "words", "labels"}  # their keys are the user's own
LIMITS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class Key:
    """A key of a laid-out recipe: where it stands and what it holds."""

    path: KeyPath
    line: int  # 1-based
    value: Any

    @property
    def name(self) -> str:
        return str(self.path[-1])

    @property
    def dotted(self) -> str:
        return ".".join(str(part) for part in self.path)


@functools.cache
def laid_out(recipe: str) -> tuple[tuple[str, ...], tuple[Key, ...], dict[str, str]]:
    """A shipped recipe's lines, its keys, and values for its variables."""
    tree = read_yaml(shipped_recipes()[recipe])[1].value
    text = yaml.safe_dump(tree, default_flow_style=False, sort_keys=False, width=10_000, allow_unicode=True)
    document = parse_yaml(text, name="r.yaml")
    keys = []
    for path, line in document.lines.items():
        if path and isinstance(path[-1], str) and not FREE & set(path[:-1]):
            value: Any = tree
            for part in path:
                value = value[part]
            keys.append(Key(path, line, value))
    return tuple(text.splitlines()), tuple(keys), dict.fromkeys(names_in(text), "x")


def faults(lines: list[str], environment: dict[str, str]) -> list[str]:
    """Everything said against a recipe, one text a fault."""
    try:
        build_recipe(parse_yaml("\n".join(lines), name="r.yaml"), name="r.yaml", environment=environment)
    except RecipeError as error:
        return [str(problem) for problem in error.problems]
    return []


@functools.cache
def limits() -> dict[KeyPath, bool]:
    """Numeric keys of the schema, `*` for a list's index: whether their numbers have a limit."""
    found = {}
    for path, info in schema_keys(Recipe):
        numeric = {int, float} & {info.annotation, *typing.get_args(info.annotation)}
        if numeric:
            found[path] = any(hasattr(mark, name) for mark in info.metadata for name in LIMITS)
    return found


def _starred(path: KeyPath) -> KeyPath:
    return tuple("*" if isinstance(part, int) else part for part in path)


def _dash(line: str) -> str:
    """A line's beginning before its key: indentation and, for a list's item, its dash."""
    match = re.match(r"[\s-]*", line)
    assert match
    return match.group()


# one way to spoil a key: the lines and the key -> what must be said about it (a pattern), None if it does not apply
Spoil = Callable[[list[str], Key], str | None]


def misspelt(lines: list[str], key: Key) -> str | None:
    at = key.line - 1
    lines[at] = f"{_dash(lines[at])}{key.name}q:{lines[at].partition(':')[2]}"
    return rf"{re.escape(key.dotted)}q: unknown key; did you mean '{key.name}'\?"


def of_the_wrong_type(lines: list[str], key: Key) -> str | None:
    at = key.line - 1
    if isinstance(key.value, dict | list):
        end = _end_of_block(lines, key)
        lines[at + 1 : end] = [""] * (end - at - 1)
    wrong = "7" if isinstance(key.value, dict | list) else "[[7]]"
    lines[at] = f"{_dash(lines[at])}{key.name}: {wrong}"
    return rf"{re.escape(key.dotted)}: is {re.escape(wrong)}"


def out_of_range(lines: list[str], key: Key) -> str | None:
    if not limits().get(_starred(key.path)) or isinstance(key.value, list):
        return None
    wrong = "-99999999" if isinstance(key.value, int) else "-1.0e+9"
    lines[key.line - 1] = f"{_dash(lines[key.line - 1])}{key.name}: {wrong}"
    return rf"{re.escape(key.dotted)}: is -\S+; it must be (at least|more than) "


def twice(lines: list[str], key: Key) -> str | None:
    at, indent = key.line - 1, " " * len(_dash(lines[key.line - 1]))
    end = _end_of_block(lines, key)
    lines.insert(end, f"{indent}{key.name}: again")
    return rf"{re.escape(key.dotted)}: the key stands twice, first at line {at + 1}"


def behind_a_tab(lines: list[str], key: Key) -> str | None:
    lines[key.line - 1] = "\t" + lines[key.line - 1].lstrip(" ")
    return "tab"


def nested_elsewhere(lines: list[str], key: Key) -> str | None:
    """A setting of a section written at the recipe's root."""
    if len(key.path) < 2 or isinstance(key.value, dict | list) or key.name in Recipe.model_fields:
        return None
    lines.append(f"{key.name}: {yaml.safe_dump(key.value).splitlines()[0]}")
    return rf"{key.name}: unknown key; did you mean '(?:\w+\.)*[\w*.]*'\?"


def _end_of_block(lines: list[str], key: Key) -> int:
    """The index of the first line after all that a key holds."""
    at = key.line - 1
    indent = len(_dash(lines[at]))
    for index in range(at + 1, len(lines)):
        own = len(lines[index]) - len(lines[index].lstrip(" "))
        item = lines[index].lstrip(" ").startswith("- ") and isinstance(key.value, list)
        if own < indent or (own == indent and not item):
            return index
    return len(lines)


WAYS: list[Spoil] = [misspelt, of_the_wrong_type, out_of_range, twice, behind_a_tab, nested_elsewhere]
RECIPES = sorted(shipped_recipes())


def line_of(before: list[str], after: list[str]) -> int:
    """The 1-based line that a spoil wrote."""
    for number, (one, other) in enumerate(zip(before, after, strict=False), start=1):
        if one != other:
            return number
    return len(after)


@pytest.mark.parametrize("recipe", RECIPES)
def test_laying_a_recipe_out_anew_keeps_it_a_recipe_with_all_its_keys(recipe: str) -> None:
    lines, keys, environment = laid_out(recipe)
    assert faults(list(lines), environment) == []
    shipped = parse_yaml(shipped_recipes()[recipe].read_text(encoding="utf-8"), name="r")
    assert {key.path for key in keys} == {
        path for path in shipped.lines if path and isinstance(path[-1], str) and not FREE & set(path[:-1])
    }
    assert len({key.line for key in keys}) == len(keys) > 50


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_key_that_is_spoilt_is_told_with_line_key_and_value(recipe: str, way: Spoil) -> None:
    lines, keys, environment = laid_out(recipe)
    wrong, applied = [], 0
    for key in keys:
        spoilt = list(lines)
        said = way(spoilt, key)
        if said is None:
            continue
        applied += 1
        found = faults(spoilt, environment)
        place = rf"r\.yaml:{line_of(list(lines), spoilt)}: .*"
        if not any(re.match(place + said, fault) for fault in found):
            wrong.append(f"{key.dotted}: {said!r} not in {found}")
    assert "\n".join(wrong) == ""
    assert applied > 20


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_several_spoilt_keys_are_all_told_at_once(data: st.DataObject) -> None:
    recipe = data.draw(st.sampled_from(RECIPES))
    lines, keys, environment = laid_out(recipe)
    plain = [key for key in keys if not isinstance(key.value, dict | list)]
    spoilt, expected = list(lines), []
    for key in data.draw(st.lists(st.sampled_from(plain), min_size=2, max_size=6, unique=True)):
        way = data.draw(st.sampled_from([misspelt, of_the_wrong_type, out_of_range]))
        said = way(spoilt, key)
        if said is not None:
            expected.append(rf"r\.yaml:{key.line}: {said}")
    found = faults(spoilt, environment)
    assert [pattern for pattern in expected if not any(re.match(pattern, fault) for fault in found)] == []
    places = [int(fault.split(":")[1]) for fault in found]
    assert places == sorted(places)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_spoilt_recipe_ends_with_two_and_makes_no_folder(
    way: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, keys, _ = laid_out("quickstart")
    key = next(key for key in keys if key.dotted == "sft.optimizer.warmup_steps")
    spoilt = list(lines)
    assert way(spoilt, key) is not None
    (tmp_path / "mine.yaml").write_text("\n".join(spoilt))
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("run", "mine.yaml"),
        ("run", "mine.yaml", "--out", "there"),
        ("sft", "mine.yaml"),
        ("plan", "mine.yaml"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "mine.yaml:" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
