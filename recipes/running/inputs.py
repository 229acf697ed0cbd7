"""The files that a recipe names and that are not there: all at once, each with its place in the recipe.  No torch."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.errors import DataError, Problem, RecipeError
from alignment.strict_yaml import KeyPath
from recipes.masking import mask
from recipes.reading.schema import Recipe
from recipes.running.digests import files_of, named_paths
from recipes.running.fingerprint import read_settings
from recipes.stages.kind import PlannedStage


def missing_inputs(recipe: Recipe, stages: Sequence[PlannedStage]) -> list[Problem]:
    """Every input file of these stages that is not there, in the order of the recipe's lines; reads none."""
    named = {
        name: path
        for stage in stages
        for key, value in read_settings(recipe, stage).items()
        for name, path in named_paths(value, key)
    }
    found = []
    for name, path in named.items():
        try:
            files_of(path, name)
        except DataError as error:
            place = recipe.origin.where(_path(name))
            found.append(Problem(where=mask(place), key=name, message=str(error).removeprefix(f"{name}: ")))
    return sorted(found, key=_line)


def check_inputs(recipe: Recipe, stages: Sequence[PlannedStage]) -> None:
    """See that every input file of these stages is there; reads none.

    Raises:
        RecipeError: all that are missing, each with file and line (or the override), key and path.
    """
    if found := missing_inputs(recipe, stages):
        raise RecipeError(found)


def _path(key: str) -> KeyPath:
    """A dotted key as a path: what is a number counts a list's items."""
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))


def _line(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.where, 0)
