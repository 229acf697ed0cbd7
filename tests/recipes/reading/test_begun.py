"""A recipe of one's own, begun from a shipped one: it loads, says what its keys mean, and SFT reads the own chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.cli import main
from recipes.load import load_recipe, shipped_recipes
from recipes.plan import stages_of
from recipes.reading.begun import begun_recipe, renamed
from recipes.reading.schema import Recipe
from tests.golden.frozen import ENVIRONMENT

CHATS = [{"instruction": f"How much is {i} and {i}?", "output": f"{i} and {i} are {2 * i}."} for i in range(40)]


def call(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def values(recipe: Recipe) -> dict[str, Any]:
    """All settings but the recipe's own words."""
    return recipe.model_dump(exclude={"name", "description"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder with own chats, as the working directory."""
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHATS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("origin", sorted(shipped_recipes()))
@pytest.mark.parametrize("data", [None, "chats.jsonl", 'odd "name" ${x}: #1.jsonl'])
def test_what_is_begun_loads_and_reads_the_chats(origin: str, data: str | None, tmp_path: Path) -> None:
    shipped = shipped_recipes()[origin]
    path = tmp_path / "mine.yaml"
    path.write_text(
        begun_recipe(shipped.read_text(encoding="utf-8"), origin=origin, name="mine", file="mine.yaml", data=data)
    )
    recipe, old = (load_recipe(file, environment=ENVIRONMENT) for file in (path, shipped))
    assert recipe.name == "mine"
    assert recipe.sft is not None
    assert old.sft is not None
    if data is None:
        assert values(recipe) == values(old)
    else:
        assert [source.path for source in recipe.sft.data.sources] == [data]
        assert recipe.sft.optimizer == old.sft.optimizer
        made = {stage.name for stage in stages_of(recipe)}
        assert made <= {"tokenizer", "pretrain", "sft", "evaluate", "report"}
        assert {"sft", "evaluate"} <= made  # something is held out to ask


def test_the_commented_stages_are_those_of_the_shipped_recipe(tmp_path: Path) -> None:
    shipped = shipped_recipes()["quickstart"]
    text = begun_recipe(
        shipped.read_text(encoding="utf-8"), origin="quickstart", name="x", file="x.yaml", data="c.jsonl"
    )
    head, _, rest = text.partition("# collect:")
    (tmp_path / "x.yaml").write_text(head + "collect:" + rest.replace("\n# ", "\n"))
    recipe, old = load_recipe(tmp_path / "x.yaml"), load_recipe(shipped)
    for section in ("collect", "reward", "rlhf", "gatt"):
        assert getattr(recipe, section) == getattr(old, section)


def test_its_keys_are_explained(folder: Path) -> None:
    assert call("init", "my.yaml", "--data", "chats.jsonl") == 0
    text = (folder / "my.yaml").read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if ":" in line and not line.lstrip().startswith("#")]
    assert sum("#" in line for line in keys) / len(keys) > 0.8
    assert "epochs: 4             # passes over the dialogues" in text
    assert "align run my.yaml" in text
    assert max(map(len, text.splitlines())) <= 120


def test_check_accepts_what_init_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("init", "my.yaml", "--from", "quickstart", "--data", "chats.jsonl") == 0
    small = ("world.size=seconds", "world.num_people=12", "world.biographies_per_person=4", "tokenizer.vocab_size=420")
    assert call("check", "my.yaml", *small) == 0
    told = capsys.readouterr().out
    assert "next: align check my.yaml" in told
    assert "train: chats.jsonl [alpaca]: 40 rows read" in told
    assert "nothing stands against the run" in told


def test_a_copy_is_the_shipped_recipe_under_the_new_files_name(folder: Path) -> None:
    assert call("recipes", "--copy", "quickstart", "town.yaml") == 0
    copied, shipped = load_recipe(folder / "town.yaml"), load_recipe("quickstart")
    assert copied.name == "town"
    assert values(copied) == values(shipped)
    assert call("recipes", "--copy", "real-small") == 0
    assert (folder / "real-small.yaml").read_text() == shipped_recipes()["real-small"].read_text()


def test_a_name_that_yaml_would_read_otherwise_is_quoted() -> None:
    assert renamed("name: quickstart\nseed: 0\n", "1e5") == 'name: "1e5"\nseed: 0\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "there.yaml"), "is there already"),
        (("init", "no/such/my.yaml"), "there is no folder no/such"),
        (("init", "my"), "must end in .yaml"),
        (("init", "my.yaml", "--from", "quikstart"), "did you mean 'quickstart'"),
        (("init", "my.yaml", "--from", "there.yaml"), "is no shipped recipe"),
        (("init", "my.yaml", "--data", "chat.jsonl"), "nearest in that folder is"),
        (("recipes", "--copy", "quickstart", "there.yaml"), "is there already"),
        (("recipes", "my.yaml"), "say which recipe with --copy NAME"),
    ],
)
def test_what_cannot_be_begun_is_told_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "there.yaml").write_text("seed: 1\n")
    assert call(*arguments) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["chats.jsonl", "there.yaml"]
    assert (folder / "there.yaml").read_text() == "seed: 1\n"
