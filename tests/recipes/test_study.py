"""A study: one recipe's variants and seeds made one checked recipe each; every error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import RecipeError, UsageError
from recipes.plan import stages_of
from recipes.study import Study, load_study, shipped_studies

TEXT = """recipe: {recipe}
seeds: [0, 3]
until: sft
variants:
  base: {{}}
  long: {{sft.epochs: 4, sft.optimizer.learning_rate: 1e-4}}
"""


@pytest.fixture
def study_file(tmp_path: Path, recipe_file: Path) -> Path:
    """A study of the small recipe."""
    path = tmp_path / "ask.yaml"
    path.write_text(TEXT.format(recipe=recipe_file))
    return path


def load(path: Path, *overrides: str) -> Study:
    return load_study(path, overrides)


def test_every_variant_meets_every_seed_in_a_run_of_its_own(study_file: Path) -> None:
    study = load(study_file)
    assert [member.folder.as_posix() for member in study.members] == [
        "runs/ask/base-0",
        "runs/ask/long-0",
        "runs/ask/base-3",
        "runs/ask/long-3",
    ]
    assert [member.recipe.sft.epochs for member in study.members if member.recipe.sft] == [2.0, 4.0, 2.0, 4.0]


def test_a_seed_is_the_runs_and_the_worlds(study_file: Path) -> None:
    last = load(study_file).members[-1].recipe
    assert last.world is not None
    assert (last.seed, last.world.seed) == (3, 3)


def test_overrides_go_to_every_member(study_file: Path) -> None:
    assert {member.recipe.model.layers for member in load(study_file, "model.size=custom", *_SHAPE).members} == {1}


_SHAPE = ("model.width=16", "model.layers=1", "model.heads=2", "model.kv_heads=1")


@pytest.mark.parametrize(
    ("change", "line", "told"),
    [
        (("sft.epochs: 4", "sft.epoch: 4"), 6, "sft.epoch: unknown key"),
        (("sft.epochs: 4", "sft.epochs: many"), 6, "sft.epochs"),
        (("seeds: [0, 3]", "seeds: [0, 0]"), 2, "seeds must be different"),
        (("seeds: [0, 3]", "seed: 0"), 2, "did you mean 'seeds'"),
    ],
)
def test_what_is_wrong_is_told_with_the_line_of_the_study(
    study_file: Path, change: tuple[str, str], line: int, told: str
) -> None:
    study_file.write_text(study_file.read_text().replace(*change))
    with pytest.raises(RecipeError) as caught:
        load(study_file)
    assert f"{study_file}:{line}" in str(caught.value)
    assert told in str(caught.value)


def test_a_variant_that_comes_to_the_same_recipe_as_another_is_told_with_its_line(study_file: Path) -> None:
    study_file.write_text(study_file.read_text() + "  same: {sft.epochs: 2}\n")  # as the recipe has it
    with pytest.raises(RecipeError) as caught:
        load(study_file)
    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (f"{study_file}:7", "variants.same")
    assert problem.message.startswith("changes nothing beside the variant base")


def test_a_stage_to_end_with_that_does_not_exist_is_refused(study_file: Path) -> None:
    study_file.write_text(study_file.read_text().replace("until: sft", "until: stf"))
    with pytest.raises(UsageError, match="did you mean 'sft'"):
        load(study_file)


def test_a_missing_study_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'seeds'"):
        load_study("seed")


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_shipped_study_can_be_run(name: str) -> None:
    assert len(load_study(name).members) >= 3


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_member_of_a_shipped_study_has_a_plan_as_far_as_the_study_goes(name: str) -> None:
    study = load_study(name)
    for member in study.members:
        names = {stage.kind.name for stage in stages_of(member.recipe)}
        assert study.settings.until in names


def test_the_margin_study_crosses_three_margins_with_the_safety_term() -> None:
    members = [member for member in load_study("margin").members if member.seed == 0]
    settings = [member.recipe.reward for member in members]
    assert [(r.helpfulness.margin, r.safety.margin, r.safety.safety_weight) for r in settings if r] == [
        (margin, margin, weight) for weight in (1.0, 0.0) for margin in ("none", "small", "large")
    ]


def test_the_scaling_study_halves_both_models_data_four_times() -> None:
    members = [member for member in load_study("reward-scaling").members if member.seed == 0]
    shares = [
        {source.share for role in ("helpfulness", "safety") for source in roles[role].data.train}
        for member in members
        if (roles := member.recipe.reward.by_role())
    ]
    assert shares == [{share} for share in (1.0, 0.5, 0.25, 0.125, 0.0625)]
