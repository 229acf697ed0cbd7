"""A recipe: the settings of all stages in one file, composed from the rooms' own settings.  No torch.

A recipe is found by name among the package's YAML files or given as a path.  Sections that are left
out (or `null`) drop their stages.  Everything that is wrong with a recipe is said at once.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from alignment.data.settings import DataSettings
from alignment.data.world.settings import WorldSettings
from alignment.errors import Problem, RecipeError, UsageError
from alignment.evaluate.settings import EvaluateSettings
from alignment.model.settings import ModelSettings
from alignment.settings import Settings, setting
from alignment.text.settings import TokenizerSettings
from alignment.train.settings import ComputeSettings, PretrainSettings, SftSettings
from gatt.settings import GattSettings
from recipes.masking import is_secret_name
from recipes.overrides import apply_overrides, origin_of
from recipes.recipe_problems import problems_of
from recipes.sections import section_problems
from recipes.variables import Expansion, UnsetVariable, expand, names_in, replaced_at, strings_below
from recipes.yaml_loader import KeyPath, YamlDocument, dotted, read_yaml
from reward.settings import RewardSettings
from rl.settings import RlhfSettings

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class TokenizerStageSettings(TokenizerSettings):
    """The tokenizer and the documents to train it on."""

    data: DataSettings | None = setting(None, "documents to train it on; none: the pretraining documents")


class RewardPair(Settings):
    """The two reward models (Llama 2 paper, 3.2.2)."""

    helpfulness: RewardSettings = setting(..., "the helpfulness model")
    safety: RewardSettings = setting(..., "the safety model")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a recipe's values came from.

    Attributes:
        file: its file, None for a recipe made in Python.
        overrides: as they were given.
        expansions: path of every string that named variables -> what it became.
    """

    file: str | None = None
    overrides: tuple[str, ...] = ()
    expansions: Mapping[KeyPath, Expansion] = field(default_factory=dict)


class Recipe(Settings):
    """All settings of a run; one stage per section."""

    name: str = setting("run", "names the run's folder and its report", cosmetic=True, pattern=_NAME)
    description: str = setting("", "what the recipe is for; shown in the report", cosmetic=True)
    seed: int = setting(0, "every draw of the run is named below it", ge=0, lt=2**63)
    out: str | None = setting(None, "the run's folder; none: runs/<name>", cosmetic=True, min_length=1)
    world: WorldSettings | None = setting(None, "the embedded chat world, for sources of the kind `world`")
    compute: ComputeSettings = setting(ComputeSettings(), "how the machine is used")
    tokenizer: TokenizerStageSettings = setting(TokenizerStageSettings(), "stage tokenizer")
    model: ModelSettings = setting(ModelSettings(), "the core's shape, or the checkpoint to start from")
    pretrain: PretrainSettings | None = setting(None, "stage pretrain; none: start from model.path")
    sft: SftSettings | None = setting(None, "stage sft")
    reward: RewardPair | None = setting(None, "stages reward-helpfulness and reward-safety")
    rlhf: RlhfSettings | None = setting(None, "stages rlhf-v1 … rlhf-vN")
    gatt: GattSettings | None = setting(None, "stage gatt")
    evaluate: EvaluateSettings = setting(EvaluateSettings(), "stage evaluate")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where its values came from."""
        return self._origin

    @property
    def run_folder(self) -> Path:
        """Where it runs unless the caller says otherwise."""
        return Path(self.out) if self.out else Path("runs") / self.name

    @property
    def tokenizer_data(self) -> DataSettings | None:
        """The documents that the tokenizer is trained on; None if it is loaded."""
        if self.tokenizer.path is not None:
            return None
        return self.tokenizer.data or (self.pretrain.data if self.pretrain else None)


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

    def where(path: KeyPath) -> str:
        return origin_of(path, overridden.origins) or f"{name}:{document.line_of(path)}"

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
    recipe._origin = Origin(file=name, overrides=tuple(overrides), expansions=expansions)
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
