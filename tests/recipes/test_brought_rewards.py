"""Recipes that bring their rewards: one model, finished folders, a function; what is planned, refused and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import RecipeError, RunChanged, UsageError
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.job import StageTable
from recipes.running.runner import run
from recipes.stages.rlhf_inputs import Judged, RewardModels

CODE = "def score(dialogues):\n    return [0.0 for _ in dialogues]\n"
CANARY = "from pathlib import Path\nPath('canary').touch()\n" + CODE


def load(recipe_file: Path, *overrides: str) -> Recipe:
    return load_recipe(recipe_file, overrides)


def models_of(recipe: Recipe, name: str) -> RewardModels:
    inputs = next(stage for stage in stages_of(recipe) if stage.name == name).inputs
    assert isinstance(inputs, Judged)
    assert inputs.judges is not None
    return inputs.judges


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's in the current folder; importing it leaves a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.py").write_text(CANARY)
    return tmp_path / "scores.py"


def test_the_helpfulness_model_alone_will_do(recipe_file: Path) -> None:
    recipe = load(recipe_file, "reward.safety=null")
    names = [stage.name for stage in stages_of(recipe)]
    assert "reward-helpfulness" in names
    assert "reward-safety" not in names
    judges = models_of(recipe, "rlhf-v1")
    assert (judges.helpfulness.stage, judges.safety) == ("reward-helpfulness", None)
    assert judges.facts()["safety score"] == "none: helpfulness alone is the reward"


def test_a_recipe_with_a_model_and_reward_folders_begins_at_rlhf(recipe_file: Path, tmp_path: Path) -> None:
    brought = [f"reward.{role}={{path: {tmp_path / role}}}" for role in ("helpfulness", "safety")]
    start = (f"model={{path: {tmp_path}}}", "tokenizer={}", "pretrain=null", "sft=null", "gatt=null")
    recipe = load(recipe_file, *start, *brought, "rlhf.versions=1", "rlhf.ppo_from=1")
    stages = {stage.name: stage for stage in stages_of(recipe)}
    assert list(stages) == ["tokenizer", "rlhf-v1-rejection", "rlhf-v1", "evaluate", "report"]
    assert stages["rlhf-v1-rejection"].starts_from is None
    assert stages["evaluate"].inputs.reads()["evaluate.with_start"] is True


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("{}", "exactly one of data, path and function says where the scores come from, got none"),
        ("{path: here, function: 'a:b'}", "got ['path', 'function']"),
        ("{path: here, epochs: 2.0}", "epochs say how a model is trained; with path nothing is: leave out"),
        ("{function: 'a:b', revision: main}", "revision is that of a hub name in `path`; there is none"),
        ("{function: 'os.system(1)'}", "os.system(1)"),
    ],
)
def test_a_reward_has_one_origin(recipe_file: Path, section: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(recipe_file, f"reward.safety={section}")
    assert sentence in str(error.value)


def test_a_function_is_refused_before_anything_is_made_or_imported(
    recipe_file: Path, scores: Path, tmp_path: Path, stages: StageTable
) -> None:
    recipe = load(recipe_file, "reward.safety={function: 'scores:score'}")
    with pytest.raises(UsageError, match=r"reward\.safety\.function \(scores:score\).*--allow-code"):
        run(recipe, out=tmp_path / "run", stages=stages)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "canary").exists()


def test_what_needs_no_function_runs_without_leave(
    recipe_file: Path, scores: Path, tmp_path: Path, stages: StageTable
) -> None:
    recipe = load(recipe_file, "reward.safety={function: 'scores:score'}")
    assert run(recipe, out=tmp_path / "run", until="sft", stages=stages).worked


def test_a_function_whose_module_is_nowhere_is_told_at_the_start(
    recipe_file: Path, tmp_path: Path, stages: StageTable
) -> None:
    recipe = load(recipe_file, "reward.safety={function: 'nowhere_at_all:score'}")
    with pytest.raises(UsageError, match=r"reward\.safety\.function: there is no module for nowhere_at_all:score"):
        run(recipe, out=tmp_path / "run", stages=stages, allow_code=True)


def test_a_changed_function_is_noticed_as_changed_data_is(
    recipe_file: Path, scores: Path, tmp_path: Path, stages: StageTable
) -> None:
    recipe = load(recipe_file, "reward.safety={function: 'scores:score'}")
    run(recipe, out=tmp_path / "run", until="rlhf-v1", stages=stages, allow_code=True)
    scores.write_text(CODE.replace("0.0", "1.0"))
    changed = load(recipe_file, "reward.safety={function: 'scores:score'}")
    with pytest.raises(RunChanged, match=r"file reward\.safety\.code: .*\(rlhf-v1\)\n.*These stages fall: rlhf-v1"):
        run(changed, out=tmp_path / "run", until="rlhf-v1", stages=stages, allow_code=True)
