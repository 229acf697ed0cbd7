"""Reading a recipe: found, overridden, expanded, checked.  No torch.

A recipe is found by name among the package's YAML files or given as a path.  Sections that are left
out (or `null`) drop their stages.  Everything that is wrong with a recipe is said at once.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignment.errors import Problem, RecipeError, UsageError
from alignment.strict_yaml import KeyPath, YamlDocument, dotted, read_yaml
from recipes.masking import is_secret_name
from recipes.reading.overrides import apply_overrides
from recipes.reading.problems import problems_of
from recipes.reading.schema import Origin
from recipes.reading.schema import Recipe as Recipe
from recipes.reading.variables import Expansion, UnsetVariable, expand, names_in, replaced_at, strings_below
from recipes.sections import section_problems


def load_recipe(
    name_or_file: str | Path, overrides: Sequence[str] = (), *, environment: Mapping[str, str] | None = None
) -> Recipe:
    """Read, override, expand and check a recipe.

    Args:
        name_or_file: a shipped recipe's name, or a YAML file.
        overrides: `dotted.key=value` each, later ones win.
        environment: for `${NAME}`; the process's by default.

    Raises:
        UsageError: there is no such recipe.
        RecipeError: all its problems at once, each with file and line (or the override), key and value.
    """
    path = find_recipe(name_or_file)
    _, document = read_yaml(path)
    return build_recipe(document, name=str(path), overrides=overrides, environment=environment)


def load_run_recipe(run: Path) -> Recipe:
    """The recipe that a run was asked last, for reading.

    Variables that are not set now, and those that hold secrets, stay as they are written.

    Raises:
        UsageError: the run has none.
        RecipeError: it was edited and cannot be used.
    """
    path = run / "recipe.yaml"
    _, document = read_yaml(path)
    names = {name for _, text in strings_below(document.value) for name in names_in(text)}
    shown = {name: value for name, value in os.environ.items() if not is_secret_name(name)}
    return build_recipe(document, name=str(path), environment={name: f"${{{name}}}" for name in names} | shown)


def build_recipe(
    document: YamlDocument,
    *,
    name: str,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Recipe:
    """A parsed document made a recipe; arguments and errors as in `load_recipe`."""
    if document.value is not None and not isinstance(document.value, dict):
        problem = f"a recipe is a mapping of sections (`sft:`, `reward:`, …), this is {type(document.value).__name__}"
        raise RecipeError([*document.problems, Problem(where=f"{name}:1", key="", message=problem)])
    overridden = apply_overrides(document, overrides)
    tree = dict(overridden.value or {})

    origin = Origin(file=name, overrides=tuple(overrides), document=document, overridden=overridden.origins)
    where = origin.where
    problems = [*document.problems, *overridden.problems]
    spoiled = {problem.key for problem in problems}
    tree, expansions, unset = _expanded(tree, os.environ if environment is None else environment, where)
    problems += unset
    spoiled |= {problem.key for problem in unset}
    if "name" not in tree:
        tree["name"] = re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "-", Path(name).stem)[:100].strip("-") or "run"
    recipe = None
    try:
        recipe = Recipe.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raw = {path: expansion.raw for path, expansion in expansions.items()}
        problems += [p for p in problems_of(error, Recipe, tree, where=where, raw=raw) if p.key not in spoiled]
    if recipe is not None:
        problems += [
            Problem(where=where(path), key=dotted(path), message=message) for path, message in section_problems(recipe)
        ]
    if problems or recipe is None:
        raise RecipeError(_in_order(problems, overrides))
    recipe._origin = replace(origin, expansions=expansions)
    return recipe


def check_recipe(recipe: Recipe) -> None:
    """Check what no single section can see; for recipes made in Python.

    Raises:
        RecipeError: a stage needs a section that is absent.
    """
    found = section_problems(recipe)
    if found:
        where = recipe.origin.file or "recipe"
        raise RecipeError([Problem(where=where, key=dotted(path), message=message) for path, message in found])


def shipped_recipes() -> dict[str, Path]:
    """The recipes of the package: name -> file."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def find_recipe(name_or_file: str | Path) -> Path:
    """The file of a recipe's name or path.

    Raises:
        UsageError: there is none; names the nearest shipped recipe.
    """
    text = str(name_or_file)
    shipped = shipped_recipes()
    is_path = isinstance(name_or_file, Path) or os.sep in text or text.endswith((".yaml", ".yml"))
    if not is_path and text in shipped:
        return shipped[text]
    path = Path(text)
    try:
        if "\0" not in text and path.is_file():
            return path
    except OSError as error:
        raise UsageError(f"recipe {text[:200]!r} cannot be read: {error.strerror}") from None
    near = difflib.get_close_matches(Path(text).stem, shipped, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; shipped recipes: {', '.join(shipped) or 'none'}"
    raise UsageError(f"there is no recipe {text[:200]!r} (neither a shipped name nor a file){hint}")


def _in_order(problems: Sequence[Problem], overrides: Sequence[str]) -> list[Problem]:
    """The file's problems by line, then the overrides' as they were given."""
    given = {f"override {text!r}": index for index, text in enumerate(overrides)}

    def place(problem: Problem) -> tuple[bool, int]:
        if problem.where in given:
            return True, given[problem.where]
        line = problem.where.rpartition(":")[2]
        return False, int(line) if line.isdecimal() else 0

    return sorted(problems, key=place)


def _expanded(
    tree: dict[str, Any], environment: Mapping[str, str], where: Any
) -> tuple[dict[str, Any], dict[KeyPath, Expansion], list[Problem]]:
    expansions: dict[KeyPath, Expansion] = {}
    problems = []
    for path, text in strings_below(tree):
        if "${" not in text:
            continue
        try:
            expansion = expand(text, environment)
            expansion.value.encode()
            expansions[path] = expansion
        except UnsetVariable as error:
            problems.append(Problem(where=where(path), key=dotted(path), message=str(error)))
        except UnicodeEncodeError:
            problems.append(
                Problem(where=where(path), key=dotted(path), message=f"{text!r} becomes text that is not UTF-8")
            )
    return replaced_at(tree, {path: e.value for path, e in expansions.items()}), expansions, problems
