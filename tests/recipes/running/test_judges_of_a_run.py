"""Who judged a run, told so that two runs' scores are comparable exactly where the judges are the same."""

from __future__ import annotations

from pathlib import Path

from alignment.evaluate.judge_words import JudgeWords, scale_of
from alignment.store.manifest import write_manifest
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.judges import judges_of


def judges(run: Path, recipe: Recipe) -> dict[str, str]:
    return dict(judges_of(run, recipe, stages_of(recipe)))


def trained(run: Path, recipe: Recipe, weights: str, note: str = "") -> dict[str, str]:
    """The judges of a run whose reward models have these weights, and this beside them."""
    for stage in stages_of(recipe):
        if stage.name.startswith("reward-"):
            checkpoint = run / stage.folder / "checkpoint"
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / "model.safetensors").write_text(weights)
            (checkpoint / "meta.json").write_text(note)
            write_manifest(checkpoint, kind="checkpoint", meta={})
    return judges(run, recipe)


def test_reward_models_are_told_by_their_weights_and_by_nothing_beside_them(recipe: Recipe, tmp_path: Path) -> None:
    first = trained(tmp_path, recipe, "weights", note="made on Monday")
    assert trained(tmp_path, recipe, "weights", note="made on Tuesday") == first
    assert trained(tmp_path, recipe, "other weights")["reward"] != first["reward"]


def test_how_two_rewards_become_one_is_part_of_the_judge(recipe: Recipe, recipe_file: Path, tmp_path: Path) -> None:
    other = load_recipe(recipe_file, ["rlhf.combination.safety_threshold=0.3"])
    assert judges(tmp_path, other)["reward"] != judges(tmp_path, recipe)["reward"]


def test_the_gold_judge_is_told_by_its_town(recipe: Recipe, recipe_file: Path, tmp_path: Path) -> None:
    assert judges(tmp_path, recipe)["gold"] == "gold judge of the embedded world (12 people, seed 0)"
    other = load_recipe(recipe_file, ["world.seed=1"])
    assert judges(tmp_path, other)["gold"] == "gold judge of the embedded world (12 people, seed 1)"


def test_an_outside_judge_is_told_by_its_model(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file, ["evaluate.endpoint={model: somebody}"])
    assert judges(tmp_path, recipe)["endpoint"] == "outside judge somebody"


def test_an_outside_model_that_watches_is_told_by_its_model(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file, ["reward.watch={endpoint: {model: somebody}}"])
    assert judges(tmp_path, recipe)["outside-watch"] == "outside model somebody, which watched"
    words = JudgeWords.of_a_run(None, "somebody")
    assert words.title("outside-watch") == "the outside model somebody, which watched"
    assert "comparisons with the start's answers won" in scale_of("outside-watch")


def test_a_run_has_the_judges_that_its_recipe_has(recipe_file: Path, tmp_path: Path) -> None:
    plain = load_recipe(recipe_file, ["rlhf=null", "reward=null", "gatt=null"])
    assert set(judges(tmp_path, plain)) == {"gold"}
