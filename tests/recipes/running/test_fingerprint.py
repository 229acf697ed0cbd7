"""Fingerprints: every setting that matters changes them, no other does; data files count by content."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import DataError, RecipeError
from alignment.settings import Settings
from alignment.strict_yaml import YamlDocument
from recipes.load import build_recipe, load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.digests import Digests
from recipes.running.fingerprint import PENDING, basis_of, changes, fingerprint, plan_fingerprint


def bases(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Each stage's basis with parents that are not done."""
    digests = Digests()
    return {s.name: basis_of(recipe, s, dict.fromkeys(s.parents, PENDING), digests) for s in stages_of(recipe)}


def leaves(
    value: Any, path: tuple[str | int, ...] = (), cosmetic: bool = False
) -> Iterator[tuple[tuple[str | int, ...], Any, bool]]:
    """Every leaf of a settings value: path, value, whether it is marked cosmetic."""
    if isinstance(value, Settings):
        for name, info in type(value).model_fields.items():
            extra = info.json_schema_extra
            marked = isinstance(extra, dict) and bool(extra.get("cosmetic"))
            yield from leaves(getattr(value, name), (*path, name), cosmetic or marked)
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index), cosmetic)
    elif not isinstance(value, dict):
        yield path, value, cosmetic


def others(value: Any, path: tuple[str | int, ...]) -> list[Any]:
    """Values of the same type that a leaf could have instead."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2 + 1, max(0, value - 1)]
    if isinstance(value, float):
        return [value / 2 + 0.01, value * 1.5 + 0.1, value / 2]
    if isinstance(value, str):
        choices = [
            "minutes",
            "bf16",
            "constant",
            "prompt",
            "opening",
            "keep",
            "drop",
            "split",
            "small",
            "all",
            "previous",
            "sft",
        ]
        return [value + "x", *choices, "safety", "none", "preferences/safety", "documents", "document", "user"]
    if value is None:
        return [1, 16, "x.model", "x", [0.5, 1.0, 2.0]]
    return []


def replaced(recipe: Recipe, path: tuple[str | int, ...], value: Any) -> Recipe | None:
    """The recipe with one leaf changed; None if it is no recipe then."""
    tree = recipe.model_dump(mode="json")
    spot: Any = tree
    for part in path[:-1]:
        spot = spot[part]
    spot[path[-1]] = value
    try:
        changed = build_recipe(YamlDocument(value=tree, lines={(): 1}, problems=()), name="r", environment={})
    except RecipeError:
        return None
    return changed if changed.model_dump() != recipe.model_dump() else None


@pytest.mark.slow
def test_a_fingerprint_changes_exactly_with_the_settings_that_matter(recipe: Recipe, data_file: Path) -> None:
    before, unchanged, moved, tried = plan_fingerprint(recipe), [], [], 0
    seen: set[tuple[str, ...]] = set()
    for path, value, cosmetic in leaves(recipe):
        name = tuple(str(part) for part in path)
        kind = name[-3:] if "data" in name or "prompts" in name else name  # each field of a source once
        if kind in seen:
            continue
        candidates = (replaced(recipe, path, other) for other in others(value, path) if other != value)
        changed = next((candidate for candidate in candidates if candidate is not None), None)
        if changed is None:
            continue
        seen.add(kind)
        try:
            after = plan_fingerprint(changed)
        except DataError:  # the leaf names a file: another file is another input, told by its absence
            assert path[-1] in ("path", "flaws")
            continue
        tried += 1
        if cosmetic and after != before:
            moved.append(path)
        if not cosmetic and after == before:
            unchanged.append(path)
    assert tried > 150
    assert moved == []
    assert unchanged == [("split", "search_texts")]  # this recipe pretrains on the town's documents, no texts of files


def test_a_cosmetic_change_brings_down_nothing(recipe_file: Path) -> None:
    one = load_recipe(recipe_file)
    other = load_recipe(recipe_file, ["sft.log_every=7", "rlhf.ppo.save_every=3", "description=other", "out=elsewhere"])
    assert bases(one) == bases(other)


def test_a_change_touches_only_the_stages_that_read_it(recipe_file: Path) -> None:
    one, other = bases(load_recipe(recipe_file)), bases(load_recipe(recipe_file, ["rlhf.ppo.clip=0.3"]))
    assert [name for name in one if one[name] != other[name]] == ["rlhf-v3"]
    assert [str(change) for change in changes(one["rlhf-v3"], other["rlhf-v3"])] == ["rlhf.ppo.clip: 0.2 -> 0.3"]


def test_another_version_of_the_worlds_prompts_touches_only_the_stages_that_ask_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load_recipe("quickstart", ["rlhf.versions=1", "rlhf.ppo_from=2", "gatt=null"])
    monkeypatch.setattr("recipes.running.fingerprint.PART_VERSIONS", {})
    one = bases(recipe)
    monkeypatch.setattr("recipes.running.fingerprint.PART_VERSIONS", {"prompts": 2})
    other = bases(recipe)
    assert [name for name in one if one[name] != other[name]] == ["collect", "rlhf-v1", "evaluate"]
    told = [str(change) for change in changes(one["rlhf-v1"], other["rlhf-v1"])]
    assert told == ['version of the world\'s prompts: (absent) -> "2"']


def test_naming_the_last_version_and_saying_zero_is_the_same_plan(recipe_file: Path) -> None:
    assert bases(load_recipe(recipe_file, ["gatt.after=0"])) == bases(load_recipe(recipe_file, ["gatt.after=3"]))


def test_more_versions_leave_the_earlier_ones_alone(recipe_file: Path) -> None:
    three = bases(load_recipe(recipe_file, ["rlhf.ppo_from=3"]))
    four = bases(load_recipe(recipe_file, ["rlhf.versions=4", "rlhf.ppo_from=3"]))
    assert all(four[name] == three[name] for name in ("sft", "rlhf-v1", "rlhf-v2", "gatt", "rlhf-v3"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace("Hello.", "Hallo."), True),  # the same size
        (lambda text: text + '{"instruction": "More.", "output": "Yes."}\n', True),
        (lambda text: "\n".join(reversed(text.splitlines())) + "\n", True),
        (lambda text: text, False),  # only touched
    ],
)
def test_a_data_file_counts_by_its_content(recipe: Recipe, data_file: Path, edit: Any, told: bool) -> None:
    digests = Digests()
    stage = next(stage for stage in stages_of(recipe) if stage.name == "sft")
    parents = dict.fromkeys(stage.parents, PENDING)
    before = basis_of(recipe, stage, parents, digests)
    data_file.write_text(edit(data_file.read_text()))
    os.utime(data_file, ns=(1, 1))
    found = changes(before, basis_of(recipe, stage, parents, digests))
    assert [change.key for change in found] == (["file sft.data.train.0.path"] if told else [])


def test_a_globs_files_are_told_one_by_one(recipe_file: Path, data_file: Path) -> None:
    glob = load_recipe(recipe_file, [f"sft.data.train.0.path={data_file.parent}/*.jsonl"])
    before = bases(glob)["sft"]
    (data_file.parent / "more.jsonl").write_text(data_file.read_text())
    assert [change.key for change in changes(before, bases(glob)["sft"])] == ["file sft.data.train.0.path/more.jsonl"]


def test_a_missing_file_is_named_with_its_key(recipe: Recipe, data_file: Path) -> None:
    data_file.unlink()
    with pytest.raises(DataError, match=r"sft\.data\.train\.0\.path: there is no file"):
        bases(recipe)


def test_a_folder_that_moved_is_no_change_and_a_secret_never_stands_in_a_basis(
    recipe_file: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    override = ["sft.data.train.0.path=${PLACE}/rows.jsonl", "sft.data.train.1={hub: 'x/${HUB_TOKEN}'}"]
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("HUB_TOKEN", "canary-4711")
    one = bases(load_recipe(recipe_file, override))
    moved = tmp_path / "moved"
    moved.mkdir()
    data_file.rename(moved / "rows.jsonl")
    monkeypatch.setenv("PLACE", str(moved))
    monkeypatch.setenv("HUB_TOKEN", "canary-4712")
    other = bases(load_recipe(recipe_file, override))
    assert one["sft"] == other["sft"]
    assert "canary" not in json.dumps(one)


def test_a_variable_whose_value_stands_in_the_settings_changes_nothing(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan_fingerprint(recipe)
    monkeypatch.setenv("SORT_KEY", "context_length")  # a key
    monkeypatch.setenv("ORDER_KEY", "cosine")  # a value
    assert plan_fingerprint(recipe) == before


def test_a_fingerprint_is_one_of_content_not_of_order_or_process() -> None:
    assert fingerprint({"a": 1, "b": {"c": [1]}}) == fingerprint({"b": {"c": [1]}, "a": 1})
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
