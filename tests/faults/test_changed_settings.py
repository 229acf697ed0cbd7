"""R10: every leaf of every shipped recipe, changed on resume, is either cosmetic or refused with key, old -> new.

A leaf is a setting that holds no others.  Each is given another valid value in turn, and the run that was
finished with the old one is surveyed.  No leaf may be left over.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from alignment.errors import RecipeError, RunChanged
from alignment.settings import Settings
from alignment.strict_yaml import YamlDocument
from recipes.load import build_recipe, load_recipe, shipped_recipes
from recipes.plan import stages_of
from recipes.planned import descendants
from recipes.reading.schema import Recipe
from recipes.reading.variables import names_in
from recipes.running.digests import Digests
from recipes.running.fingerprint import plan_fingerprint
from recipes.running.folder import mark_run
from recipes.running.record import StageRecord, write_record
from recipes.running.survey import check_unchanged, current_basis, survey

KeyPath = tuple[str | int, ...]
# the keys that decide which stages there are and what they stand on: told by the stages, not by themselves
SHAPE = {
    "rlhf.versions",
    "rlhf.ppo_from",
    "rlhf.ppo.on",
    "gatt.after",
    "rlhf.rejection.pool",
    "rlhf.rejection.start_from",
    "rlhf.controls",
    "rlhf.baselines",
    "rlhf.dpo",
    "rlhf.grpo",
    "reward.watch",
    "reward.watch.endpoint",
}
SHAPE |= {
    f"reward.{role}.{key}" for role in ("helpfulness", "safety", "watch") for key in ("path", "revision", "function")
}
SECTIONS = {"world", "pretrain", "sft", "collect", "reward", "rlhf", "gatt"}
# a key -> the first stage whose result it decides; the longest fitting beginning counts
OWNERS = {
    "seed": "tokenizer",
    "tokenizer": "tokenizer",
    "pretrain": "pretrain",
    "sft": "sft",
    "reward.helpfulness": "reward-helpfulness",
    "reward.safety": "reward-safety",
    "reward.watch": "reward-watch",
    "rlhf": "rlhf-v1",
    "rlhf.collect": "collect-v2",
    "rlhf.collect.older_share": "reward-helpfulness-v2",
    "rlhf.refresh": "reward-helpfulness-v2",
    "rlhf.ppo": "rlhf-v5",
    "gatt": "gatt",
    "evaluate": "evaluate",
}
VALUES = [False, True, 0, 1, 2, 8, 16, 64, 350, 0.25, 0.5, 0.95, 1.5]
VALUES += [
    "x",
    "x.jsonl",
    "x.model",
    "x.yaml",
    "user",
    "assistant",
    "better",
    "json:loads",  # a function
    "rlhf-v1",  # a stage with records
    "slightly",
    ["x"],
    ["sft"],
    ["tensorboard"],
    [0.5, 1.0, 2.0],
    None,
    {"model": "judge"},
    {"path": "x"},
]
SOURCE = {"path": "x.jsonl"}
VALUES += [{}, {"x": "user"}, {"x": "x"}, [SOURCE], {"train": [SOURCE]}, {"data": {"train": [SOURCE]}}]
VALUES += [{"data": {"train": [SOURCE], "held_out": [SOURCE]}}]
# replayed documents, a mixture, collected preferences, a control, a campaign, a temperature, a small share
VALUES += [{"source": [SOURCE], "share": 0.5}, {"source": [SOURCE], "documents": 2, "coefficient": 0.5}]
VALUES += [{"sources": [SOURCE], "share": 0.5}, {"prompts": {"train": [SOURCE]}, "annotator": {"model": "judge"}}]
# a target of the KL, a length that costs nothing, a KL estimator, where the KL counts, a scale of rewards
VALUES += [{"target": 3.0, "horizon": 500}, {"over": 2}, "k3", "loss", "running", "continue"]
VALUES += [["steps"], ["grpo"], "helpfulness", "safety", "watch", "pretrain", [0.5, 0.9], 0.05]
ONE_VALUE = {"rlhf.ppo.sampling.top_p", "rlhf.ppo.sampling.top_k"}  # PPO samples the whole distribution or is refused
ONE_VALUE |= {"rlhf.collect", "rlhf.refresh"}  # each needs the other, and the section collect
ONE_VALUE |= {"compute.parallel.parameters"}  # an option of fsdp2, which no shipped recipe asks for
START_FROM = ("rlhf", "rejection", "start_from")  # `sft` is refused where Ghost Attention comes before a version
# what else must change with a key, because the settings refuse it alone
CUSTOM = {"size": "custom", "width": 64, "layers": 2, "heads": 2, "kv_heads": 1}
TOGETHER: dict[str, dict[str, Any]] = {
    "world": {"path": None, "hub": None, "form": "auto", "columns": {}},
    "stage": {"world": None, "path": None, "hub": None, "form": "auto", "columns": {}},
    "path": {"world": None, "hub": None},
    "data": {"path": "x.model"},
    "dpo": {"baselines": ["dpo"]},
    "grpo": {"baselines": ["grpo"]},
    "hub": {"world": None, "path": None},
    "revision": {"path": "x"},
    "function": {"path": None},
    "endpoint": {"data": None},
    "loss_on": {"compose": "turns"},
    "sft_source": {"sft_share": 0.5},
    "keep": {"top_n": 2},
    "top_n": {"keep": "top_n"},
    "form": {"world": None, "hub": None, "path": "x.jsonl"},
    "columns": {"world": None, "hub": None, "path": "x.jsonl"},
    **dict.fromkeys(("width", "layers", "heads", "kv_heads", "size"), CUSTOM),
}


# whole recipes first: they have a section of every kind; the one that takes another run's models comes last
RECIPES = sorted(shipped_recipes(), key=lambda name: (name == "distil-small", name))


@pytest.fixture(autouse=True)
def _data_files_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the recipes name are not here; their contents are another test's matter."""
    monkeypatch.setattr(
        "recipes.running.fingerprint.digests_of", lambda paths, digests: dict.fromkeys(paths, "the same content")
    )
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def rebuilt(tree: dict[str, Any]) -> Recipe | None:
    """The recipe of resolved values; None if they make none."""
    try:
        return build_recipe(YamlDocument(value=tree, lines={(): 1}, problems=()), name="r", environment={})
    except RecipeError:
        return None


def unset(value: Any, path: KeyPath = ()) -> Iterator[str]:
    """Dotted keys of the fields that came after a release and hold their default: they stand in no basis."""
    if isinstance(value, Settings):
        for name, info in type(value).model_fields.items():
            extra, item = info.json_schema_extra, getattr(value, name)
            if isinstance(extra, dict) and extra.get("added") and item == info.default:
                yield dotted((*path, name))
            yield from unset(item, (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from unset(item, (*path, index))


def leaves(value: Any, annotation: Any, path: KeyPath = (), cosmetic: bool = False) -> Iterator[tuple[Any, ...]]:
    """Every leaf below a value: its path, value, annotation and whether it or a section above is marked cosmetic."""
    if isinstance(value, Settings):
        for name, info in type(value).model_fields.items():
            extra = info.json_schema_extra
            marked = isinstance(extra, dict) and bool(extra.get("cosmetic"))
            yield from leaves(getattr(value, name), info.annotation, (*path, name), cosmetic or marked)
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from leaves(item, annotation, (*path, index), cosmetic)
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, annotation, (*path, name), cosmetic)
    else:
        yield path, value, annotation, cosmetic


def candidates(value: Any, annotation: Any) -> list[Any]:
    """Values of the leaf's own type that it might have instead, the likeliest first."""
    adapter = _adapter(annotation)

    def fits(candidate: Any) -> bool:
        try:
            adapter.validate_json(json.dumps(candidate))
        except ValidationError:
            return False
        return True

    return [candidate for candidate in _candidates(value, annotation) if fits(candidate)]


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _candidates(value: Any, annotation: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (value * 2, value + 1, value / 2, value - 1)
    elif isinstance(value, str):
        yield value + "x"
    yield from literals(annotation)
    yield from VALUES


def literals(annotation: Any) -> Iterator[Any]:
    """The words that an annotation allows."""
    for argument in typing.get_args(annotation):
        if typing.get_origin(annotation) is typing.Literal:
            yield argument
        else:
            yield from literals(argument)


def changed_at(recipe: Recipe, tree: dict[str, Any], path: KeyPath, value: Any, annotation: Any) -> Recipe | None:
    """The recipe with another valid value at one leaf, with what must change together with it if need be."""
    holder: Any = recipe
    for part in path[:-1]:
        holder = getattr(holder, str(part)) if isinstance(holder, Settings) else holder[part]
    known = isinstance(holder, Settings)  # of an item the annotation is its list's or mapping's
    options = candidates(value, annotation) if known else list(_candidates(value, annotation))
    beside = TOGETHER.get(str(path[-1]))
    for together in ({}, beside) if beside else ({},):
        for candidate in options:
            other = copy.copy(tree)
            spot: Any = other
            for part in path[:-1]:  # what lies on the way is copied, all else is the same
                spot[part] = copy.copy(spot[part])
                spot = spot[part]
            if together and path[0] == "reward" and len(path) == 3:  # brought: nothing is said of training
                spot.clear()
                spot |= (
                    {path[-1]: None} if path[-1] in ("path", "function", "endpoint") else {"path": "x", path[-1]: None}
                )
            elif isinstance(spot, dict):
                spot.update({name: new for name, new in together.items() if name in spot})
            if len(path) > 1 and path[-1] == "world" and other["world"] is None:
                other["world"] = {}  # a source that reads the world needs one
            if path[-1] == "stage" and path[:3] == ("gatt", "data", "train"):
                other["gatt"]["data"]["held_out"] = [SOURCE]  # a stage's records are all trained on
            if candidate == spot[path[-1]] and type(candidate) is type(spot[path[-1]]):
                continue
            spot[path[-1]] = candidate
            found = rebuilt(other)
            if found is not None and found.model_dump() != recipe.model_dump():
                return found
    return None


def finished_run(recipe: Recipe, folder: Path) -> Path:
    """A run whose every stage is finished, as its records say."""
    done: dict[str, str] = {}
    folder.mkdir()
    mark_run(folder, recipe.name)
    for stage in stages_of(recipe):
        basis, fingerprint = current_basis(recipe, stage, done, Digests())
        record = StageRecord(
            name=stage.name,
            kind=stage.kind.name,
            status="finished",
            fingerprint=fingerprint,
            basis=basis,
            started="then",
            result={"page": "."},
        )
        (folder / stage.folder).mkdir()
        write_record(folder / stage.folder, record)
        done[stage.name] = record.digest
    return folder


def refusal(recipe: Recipe, run: Path) -> str:
    """What the runner says against going on with this recipe; empty if nothing."""
    plan = stages_of(recipe)
    try:
        check_unchanged(survey(recipe, run, plan, plan, Digests()), run)
    except RunChanged as error:
        return str(error)
    return ""


def told(key: str, refused: str) -> bool:
    """Whether a line gives the key (or what lies below it) with an old and a new value that differ."""
    lines = re.findall(rf"^  {re.escape(key)}(?:\.\S+)?: (.+) -> (.+)   \(", refused, flags=re.MULTILINE)
    return bool(lines) and all(old != new for old, new in lines)


def resolved(name: str) -> tuple[Recipe, dict[str, Any]]:
    """A shipped recipe with its variables put in, and its values as a plain tree."""
    text = shipped_recipes()[name].read_text(encoding="utf-8")
    tree = load_recipe(name, environment=dict.fromkeys(names_in(text), "x")).model_dump(mode="json")
    recipe = rebuilt(tree)
    assert recipe is not None
    return recipe, tree


def dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def kind_of(path: KeyPath) -> KeyPath:
    """What stands for all leaves like it: a list's first item, and for a source's settings those of any section.

    `limit` is kept apart for every source, so that each section is seen to fall by its data's settings; `stage` because
    only some sections have a stage with records before them.
    """
    kind = tuple("*" if isinstance(part, int) else part for part in path)
    at = next((i for i, part in enumerate(kind) if part in ("train", "held_out") and i + 1 < len(kind)), None)
    return kind if at is None or kind[-1] in ("limit", "stage") else ("any source", *kind[at + 1 :])


def kinds_of_leaves(name: str) -> set[KeyPath]:
    """All kinds of leaves of a recipe."""
    recipe = resolved(name)[0]
    return {kind_of(leaf[0]) for leaf in leaves(recipe, None) if not without_object(recipe, dotted(leaf[0]))}


def without_object(recipe: Recipe, key: str) -> bool:
    """Whether a recipe has nothing that a key speaks of: no files with texts to search, no version with PPO, no reward
    model that is trained."""
    documents = recipe.pretrain.data.sources if recipe.pretrain is not None else ()
    if key == "split.search_texts":
        return not any(source.path for source in documents)
    if key.startswith("rlhf.ppo."):
        return recipe.rlhf is not None and recipe.rlhf.ppo_from > recipe.rlhf.versions
    roles = recipe.reward.by_role() if recipe.reward is not None else {}
    finished = {f"reward.{role}." for role, settings in roles.items() if settings.brought is not None}
    return key.startswith(tuple(finished)) and key not in SHAPE


@pytest.mark.parametrize("name", RECIPES)
def test_a_leaf_stands_in_some_stages_basis_if_and_only_if_it_is_not_cosmetic(name: str) -> None:
    recipe, _ = resolved(name)
    read = {
        key
        for stage in stages_of(recipe)
        for key in current_basis(recipe, stage, dict.fromkeys(stage.parents, ""), Digests())[0]["settings"]
    }
    found = {dotted(path): cosmetic for path, _, _, cosmetic in leaves(recipe, None)}
    matters = {key for key, cosmetic in found.items() if not cosmetic} - set(unset(recipe))
    matters = {key for key in matters if not without_object(recipe, key)}
    assert matters - read <= SHAPE | SECTIONS  # those are told by the stages that there are
    assert read <= matters | SHAPE  # a brought model is told with all that says where it is
    assert len(found) > 300


@pytest.mark.parametrize("name", RECIPES)
def test_a_changed_leaf_is_cosmetic_or_refused_with_key_old_new_and_the_stages_that_fall(
    name: str, tmp_path: Path
) -> None:
    recipe, tree = resolved(name)
    run = finished_run(recipe, tmp_path / "run")
    assert refusal(recipe, run) == ""
    seen = {kind for earlier in RECIPES[: RECIPES.index(name)] for kind in kinds_of_leaves(earlier)}
    seen.discard(kind_of(START_FROM))
    wrong: list[str] = []
    for path, value, annotation, cosmetic in leaves(recipe, None):
        key, kind = dotted(path), kind_of(path)
        if kind in seen or without_object(recipe, key):
            continue
        seen.add(kind)
        changed = changed_at(recipe, tree, path, value, annotation)
        if changed is None and path[-1] == "stage" and path[0] != "gatt":
            continue  # no stage with records comes before the one that would read them
        if changed is None and (path[-1] in ("campaign", "part") or (path[-1] == "mix" and path[0] != "reward")):
            continue  # only a source of collected preferences has a campaign and a part, only comparisons are mixed
        if changed is None and (key in ONE_VALUE or (path == START_FROM and recipe.gatt and recipe.gatt.after)):
            continue
        if changed is None:
            wrong.append(f"{key}: no other valid value was found, so it is not classified")
            continue
        refused = refusal(changed, run)
        if cosmetic:
            wrong += [f"{key}: is cosmetic, but {refused}"] if refused else []
            continue
        owner = max((start for start in OWNERS if f"{key}.".startswith(f"{start}.")), key=len, default="")
        fallen = re.search(r"These stages fall: (.*)\.", refused)
        names = fallen.group(1).split(", ") if fallen else []
        if not names:
            wrong.append(f"{key}: matters, but every stage's fingerprint stays")
        elif key not in SHAPE | SECTIONS and not told(key, refused):
            wrong.append(f"{key}: is not told with old and new: {refused}")
        elif key not in SHAPE | SECTIONS and owner and OWNERS[owner] not in names:
            wrong.append(f"{key}: {OWNERS[owner]} does not fall, only {names}")
        elif key not in SECTIONS and not set(descendants(stages_of(changed), set(names))) <= {
            *names,
            *new_stages(recipe, changed),
        }:
            wrong.append(f"{key}: stages that rest on the fallen ones stand: {names}")
    assert "\n".join(wrong) == ""


def new_stages(recipe: Recipe, changed: Recipe) -> set[str]:
    """Stages that only the changed recipe has."""
    return {stage.name for stage in stages_of(changed)} - {stage.name for stage in stages_of(recipe)}


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("sft.nonfinite_skips", (0, 3)),
        ("rlhf.ppo.nonfinite_skips", (0, 3)),
        ("sft.data.max_bad_fraction", (0.01, 0.2)),
        ("sft.data.train.0.max_bad_fraction", (None, 0.2)),
    ],
)
def test_a_limit_that_stopped_a_stage_may_be_raised_without_losing_its_work(
    key: str, values: tuple[Any, Any], tmp_path: Path
) -> None:
    """Such a limit stops a stage or changes nothing, so a stage that it stopped goes on from its checkpoint."""
    one = load_recipe("quickstart", [f"{key}={'null' if values[0] is None else values[0]}"])
    other = load_recipe("quickstart", [f"{key}={values[1]}"])
    assert plan_fingerprint(one) == plan_fingerprint(other)
    assert refusal(other, finished_run(one, tmp_path / "run")) == ""
