"""What a good recipe becomes: values, overrides, variables, and the file that a run keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.strict_yaml import parse_yaml
from recipes.load import build_recipe, load_recipe, load_run_recipe, shipped_recipes
from recipes.reading.overrides import apply_overrides
from recipes.reading.schema import Recipe
from recipes.reading.variables import UnsetVariable, expand
from recipes.reading.written import recipe_yaml


def test_overrides_set_fields_list_items_and_whole_sections(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        [
            "sft.optimizer.learning_rate=3e-4",
            "sft.data.train.1.limit=7",
            "gatt=null",
            "rlhf.ppo={iterations: 9}",
            "seed=4",
        ],
    )
    assert recipe.sft is not None
    assert recipe.rlhf is not None
    assert recipe.sft.optimizer.learning_rate == 3e-4
    assert recipe.sft.optimizer.weight_decay == 0.1  # what stands beside it keeps its default
    assert recipe.sft.data.train[1].limit == 7
    assert recipe.gatt is None
    assert recipe.rlhf.ppo.iterations == 9
    assert recipe.seed == 4


def test_a_later_override_wins() -> None:
    recipe = build_recipe(
        parse_yaml("pretrain: {data: {train: [{path: x}]}}", name="r"), name="r", overrides=["seed=1", "seed=2"]
    )
    assert recipe.seed == 2


def test_a_section_that_is_absent_is_made_by_an_override() -> None:
    found = apply_overrides(parse_yaml("", name="r"), ["a.b.c=1"])
    assert found.value == {"a": {"b": {"c": 1}}}


@pytest.mark.parametrize(
    "override", ["a", "=1", "a..b=1", "a=[1", "a=*x", "l.5=1", "l.x=1", "l.0.y=1", ".".join("a" * 50) + "=1"]
)
def test_an_override_that_fits_nowhere_is_a_problem_not_a_change(override: str) -> None:
    document = parse_yaml("l: [1]", name="r")
    found = apply_overrides(document, [override])
    assert len(found.problems) == 1
    assert found.problems[0].where == f"override {override!r}"
    assert found.value in ({"l": [1]}, {"l": [1], "a": None})


def test_the_default_name_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "my run!.yaml"
    path.write_text("pretrain: {data: {train: [{path: x}]}}")
    assert load_recipe(path).name == "my-run"
    assert load_recipe(path).run_folder == Path("runs/my-run")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y2"),
        ("${C:-d e}", "d e"),
        ("${E:-d}", "d"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("{A}", "{A}"),
    ],
)
def test_variables_are_put_in_as_a_shell_would(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "B": "2", "E": ""}).value == value


@pytest.mark.parametrize("text", ["${C}", "${}", "${A", "${A B}", "${1}", "${A:+x}", "${A${B}}"])
def test_a_reference_that_is_none_or_unset_is_refused(text: str) -> None:
    with pytest.raises(UnsetVariable):
        expand(text, {"A": "1", "B": "2"})


def test_a_variables_value_is_not_expanded_again() -> None:
    assert expand("${A}", {"A": "${B}", "B": "x"}).value == "${B}"


def test_the_runs_recipe_file_reads_back_as_the_same_recipe(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe))
    again = load_run_recipe(tmp_path)
    assert again.model_dump() == recipe.model_dump()


def test_the_runs_recipe_file_leaves_out_a_context_length_that_was_not_given(recipe_file: Path, tmp_path: Path) -> None:
    written = tmp_path / "recipe.yaml"
    written.write_text(recipe_yaml(load_recipe(recipe_file, ["gatt.context_length=100"])))
    again = load_recipe(written)
    assert again.sft is not None
    assert again.gatt is not None
    assert (again.sft.asked_context, again.gatt.asked_context) == (None, 100)
    assert again.model.context_length == 128  # the model's own is no wish but what it is built with


def test_the_runs_recipe_file_names_variables_and_never_holds_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "canary-4711")
    monkeypatch.setenv("PLACE", "/somewhere")
    text = "description: canary-4711\npretrain: {data: {train: [{path: '${PLACE}/${HUB_TOKEN}.txt'}, {path: 'https://me:pw@host/x'}]}}"
    recipe = build_recipe(parse_yaml(text, name="r.yaml"), name="r.yaml", overrides=["sft=null"])
    assert recipe.pretrain is not None
    assert recipe.pretrain.data.train[0].path == "/somewhere/canary-4711.txt"
    written = recipe_yaml(recipe)
    assert "canary-4711" not in written
    assert "me:pw" not in written
    assert "path: ${PLACE}/${HUB_TOKEN}.txt" in written
    assert "# with sft=null" in written


def test_a_runs_recipe_is_read_without_the_variables_it_names(tmp_path: Path) -> None:
    text = "pretrain: {data: {train: [{path: '${NO_SUCH_FOLDER}/x.txt'}]}}"
    recipe = build_recipe(parse_yaml(text, name="r"), name="r", environment={"NO_SUCH_FOLDER": "/x"})
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe))
    again = load_run_recipe(tmp_path)
    assert again.pretrain is not None
    assert again.pretrain.data.train[0].path == "${NO_SUCH_FOLDER}/x.txt"


def test_a_runs_recipe_is_read_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "canary-4711")
    (tmp_path / "recipe.yaml").write_text("description: ${HUB_TOKEN}\npretrain: {data: {train: [{path: x}]}}")
    assert load_run_recipe(tmp_path).description == "${HUB_TOKEN}"


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=30))
def test_any_text_survives_the_runs_recipe_file(text: str) -> None:
    recipe = build_recipe(parse_yaml("pretrain: {data: {train: [{path: x}]}}", name="r"), name="r")
    recipe = recipe.model_copy(update={"description": text})
    again = build_recipe(parse_yaml(recipe_yaml(recipe), name="r"), name="r", environment={})
    assert again.description == text


def test_every_shipped_recipe_is_found_by_its_name() -> None:
    for name, path in shipped_recipes().items():
        assert path.stem == name
        assert path.parent.name == "recipes"
