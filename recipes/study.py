"""Reading a study: a recipe's variants and seeds made one checked recipe each.  No torch.

Everything that is wrong is said at once: the study's own keys with file and line, and what a variant's settings do to
the recipe with the line of the study on which the setting stands.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from alignment.errors import Problem, RecipeError, UsageError
from alignment.strict_yaml import YamlDocument, read_yaml
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.planned import find_stages
from recipes.reading.problems import problems_of
from recipes.reading.schema import Recipe
from recipes.reading.study import StudySettings


@dataclass(frozen=True, kw_only=True)
class Member:
    """One variant with one seed.

    Attributes:
        folder: its run, inside the study's folder.
    """

    variant: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def name(self) -> str:
        """`VARIANT-SEED`."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as it will be run.

    Attributes:
        members: variant by variant within each seed, so that what they share is made once and early.
    """

    name: str
    settings: StudySettings
    folder: Path
    members: tuple[Member, ...]


def load_study(
    name_or_file: str | Path,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Study:
    """Read a study and make the recipe of every member.

    Args:
        name_or_file: a shipped study's name, or a YAML file.
        overrides: `dotted.key=value` each, over the recipe of every member.
        out: the study's folder; the study's own otherwise.
        environment: for `${NAME}` in the recipe; the process's by default.

    Raises:
        UsageError: there is no such study or recipe, or no such stage to end with.
        RecipeError: all problems at once, with file and line.
    """
    path = find_study(name_or_file)
    settings, document = _settings(path)
    folder = out or Path(settings.out or Path("runs") / path.stem)
    members: list[Member] = []
    problems: dict[Problem, None] = {}
    for seed in settings.seeds:
        for variant in settings.variants:
            places = _overrides(settings, variant, document, path)
            try:
                recipe = load_recipe(settings.recipe, [*overrides, *places], environment=environment)
                seeded = [f"seed={seed}"] + ([f"world.seed={seed}"] if recipe.world is not None else [])
                recipe = load_recipe(settings.recipe, [*overrides, *places, *seeded], environment=environment)
            except RecipeError as error:
                problems |= dict.fromkeys(_placed(problem, places) for problem in error.problems)
                continue
            if settings.until is not None:
                find_stages(stages_of(recipe), settings.until)
            members.append(Member(variant=variant, seed=seed, recipe=recipe, folder=folder / f"{variant}-{seed}"))
    problems |= dict.fromkeys(_alike(members, document, path))
    if problems:
        raise RecipeError(list(problems))
    return Study(name=path.stem, settings=settings, folder=folder, members=tuple(members))


def shipped_studies() -> dict[str, Path]:
    """The studies of the package: name -> file."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "studies").glob("*.yaml"))}


def find_study(name_or_file: str | Path) -> Path:
    """The file of a study's name or path.

    Raises:
        UsageError: there is none; names the nearest shipped study.
    """
    text, shipped = str(name_or_file), shipped_studies()
    is_path = isinstance(name_or_file, Path) or os.sep in text or text.endswith((".yaml", ".yml"))
    if not is_path and text in shipped:
        return shipped[text]
    if "\0" not in text and Path(text).is_file():
        return Path(text)
    near = difflib.get_close_matches(Path(text).stem, shipped, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"shipped studies: {', '.join(shipped) or 'none'}"
    raise UsageError(f"there is no study {text[:200]!r} (neither a shipped name nor a file); {hint}")


def _settings(path: Path) -> tuple[StudySettings, YamlDocument]:
    _, document = read_yaml(path)
    if not isinstance(document.value, dict):
        message = f"a study is a mapping (`recipe:`, `seeds:`, `variants:`), this is {type(document.value).__name__}"
        raise RecipeError([*document.problems, Problem(where=f"{path}:1", key="", message=message)])
    problems = list(document.problems)
    try:
        settings = StudySettings.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        where = lambda key: f"{path}:{document.line_of(key)}"  # noqa: E731
        problems += problems_of(error, StudySettings, document.value, where=where, raw={})
        raise RecipeError(problems) from None
    if problems:
        raise RecipeError(problems)
    return settings, document


def _overrides(settings: StudySettings, variant: str, document: YamlDocument, path: Path) -> dict[str, str]:
    """A variant's settings as overrides -> where each stands."""
    found = {}
    for key, value in settings.variants[variant].items():
        line = document.line_of(("variants", variant, key))
        found[f"{key}={json.dumps(value)}"] = f"{path}:{line} (variant {variant})"
    return found


def _alike(members: Sequence[Member], document: YamlDocument, path: Path) -> Iterator[Problem]:
    """Variants that come to the recipe of an earlier one: their difference would be nothing, at the price of a run."""
    first: dict[str, str] = {}
    for member in members:
        if member.seed != members[0].seed:
            continue
        recipe = member.recipe.model_dump_json()
        if (other := first.setdefault(recipe, member.variant)) != member.variant:
            where = f"{path}:{document.line_of(('variants', member.variant))}"
            message = f"changes nothing beside the variant {other}; its settings come to the same recipe"
            yield Problem(where=where, key=f"variants.{member.variant}", message=message)


def _placed(problem: Problem, places: Mapping[str, str]) -> Problem:
    """A problem of a variant's setting, told by its line in the study."""
    for text, place in places.items():
        if problem.where == f"override {text!r}":
            return Problem(where=place, key=problem.key, message=problem.message)
    return problem
