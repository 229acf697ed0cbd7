"""What a recipe names and is not there or cannot be read: files, all at once, and hub checkpoints; each with its place.

No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignment.constraint import names_yaml
from alignment.errors import CheckpointUnavailable, DataError, Problem, RecipeError, SettingError
from alignment.strict_yaml import KeyPath, dotted
from recipes.masking import mask
from recipes.reading.schema import Recipe
from recipes.reading.variables import strings_below
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


def unreadable_inputs(recipe: Recipe, stages: Sequence[PlannedStage]) -> list[Problem]:
    """Every file of instructions that is there and is none; read now, since its stage begins after hours of others."""
    from gatt.constraints import read_constraints

    named = {key: where for stage in stages for key, where in stage.inputs.constraints().items() if names_yaml(where)}
    found = []
    for key, where in named.items():
        try:
            if Path(where).exists():
                read_constraints(Path(where))
        except DataError as error:
            found.append(Problem(where=mask(recipe.origin.where(_path(key))), key=key, message=str(error)))
    return found


def check_inputs(recipe: Recipe, stages: Sequence[PlannedStage]) -> None:
    """See that every input file of these stages is there, and that those of instructions can be read; reads no data.

    Raises:
        RecipeError: all that are missing or wrong, each with file and line (or the override), key and path.
    """
    if found := [*missing_inputs(recipe, stages), *unreadable_inputs(recipe, stages)]:
        raise RecipeError(found)


def with_its_setting(error: CheckpointUnavailable, recipe: Recipe) -> CheckpointUnavailable:
    """The same error, with the setting (and the variable) that can name a local folder."""
    return CheckpointUnavailable(error.checkpoint, error.why, instead=name_a_folder(recipe, error.checkpoint))


def with_its_place(error: SettingError, section: str, recipe: Recipe) -> RecipeError:
    """The same error with the setting's whole key, and the file and line (or the override) where it stands.

    Args:
        section: the dotted key that the error's own stands below.
    """
    key = f"{section}.{error.key}".lstrip(".")
    return RecipeError([Problem(where=mask(recipe.origin.where(_path(key))), key=key, message=error.message)])


def name_a_folder(recipe: Recipe, checkpoint: str) -> str:
    """How a recipe names a local folder in place of a hub checkpoint, as the end of a sentence."""
    found = [path for path, text in strings_below(recipe.model_dump(mode="json")) if text == checkpoint]
    if not found:
        return "name a local folder that holds it"
    key, expansion = dotted(found[0]), recipe.origin.expansions.get(found[0])
    variables = f"the variable {expansion.names[0]} or " if expansion is not None and expansion.names else ""
    return f"set {variables}{key} ({mask(recipe.origin.where(found[0]))}) to a local folder that holds it"


def _path(key: str) -> KeyPath:
    """A dotted key as a path: what is a number counts a list's items."""
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))


def _line(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.where, 0)
