"""A recipe's stages by name, and what a recipe that cannot be used is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import RecipeError
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.stages.kind import PlannedStage


def plan(recipe: Recipe | Path | str, *overrides: str) -> dict[str, PlannedStage]:
    """The stages by name, of a recipe or of a file or name of one."""
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    return {stage.name: stage for stage in stages_of(loaded)}


def refused(recipe_file: Path, *overrides: str) -> str:
    """What the refusal says: all problems."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    return str(caught.value)
