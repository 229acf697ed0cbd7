"""What a recipe names and is not there: files all at once, each with its place; a hub checkpoint with what to do."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from httpx2 import Request, Response
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from alignment.errors import CheckpointUnavailable, RecipeError
from alignment.policy.policy import load_policy
from recipes.cli import main
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.check import check
from recipes.running.inputs import check_inputs
from recipes.running.runner import run


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    """A recipe that names three files which are not there, and one that is."""
    here = tmp_path / "here.jsonl"
    here.write_text('{"instruction": "Say hello.", "output": "Hello."}\n' * 3)
    path = tmp_path / "lacking.yaml"
    path.write_text(
        f"""\
model: {{size: tiny}}
tokenizer: {{vocab_size: 300}}
pretrain:
  data:
    train: [{{path: {tmp_path}/docs.txt}}]
sft:
  data:
    train:
    - path: {here}
    - path: {tmp_path}/chats/*.jsonl
gatt:
  constraints: {tmp_path}/rules.yaml
  data: {{train: [{{path: {here}}}]}}
split: {{test: 0.2}}
"""
    )
    return path


def places(error: RecipeError) -> list[tuple[str, str]]:
    """(line or override, key) of every problem."""
    return [(problem.where.rpartition("/")[2], problem.key) for problem in error.problems]


def test_all_missing_files_are_told_at_once_with_line_and_key(lacking: Path) -> None:
    recipe = load_recipe(lacking)
    with pytest.raises(RecipeError) as caught:
        check_inputs(recipe, stages_of(recipe))
    assert places(caught.value) == [
        ("lacking.yaml:5", "pretrain.data.train.0.path"),
        ("lacking.yaml:10", "sft.data.train.1.path"),
        ("lacking.yaml:12", "gatt.constraints"),
    ]
    assert "no file matches" in caught.value.problems[1].message


def test_a_file_that_an_override_names_is_told_with_the_override(lacking: Path) -> None:
    recipe = load_recipe(lacking, ["sft.data.train.0.path=gone.jsonl", "pretrain.data.train=[{path: away.txt}]"])
    with pytest.raises(RecipeError) as caught:
        check_inputs(recipe, stages_of(recipe))
    assert ("override 'sft.data.train.0.path=gone.jsonl'", "sft.data.train.0.path") in places(caught.value)
    assert ("override 'pretrain.data.train=[{path: away.txt}]'", "pretrain.data.train.0.path") in places(caught.value)


@pytest.mark.parametrize("key", ["gatt.constraints", "evaluate.instructions.constraints"])
def test_a_file_of_instructions_that_is_none_is_told_before_anything_is_trained(key: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("train:\n- {id: a, kind: nothing, instruction: x, short: y}\n")
    recipe = load_recipe("quickstart", [f"{key}={rules}"])
    with pytest.raises(RecipeError) as caught:
        check_inputs(recipe, stages_of(recipe))
    assert places(caught.value) == [(f"override '{key}={rules}'".rpartition("/")[2], key)]
    assert f"{rules}:2: train entry 1" in caught.value.problems[0].message
    told = check(recipe, tmp_path / "check").problems
    assert any(f"{rules}:2: train entry 1" in problem for problem in told)


def test_a_run_makes_nothing_and_names_only_what_its_stages_read(lacking: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        run(load_recipe(lacking), out=tmp_path / "run", until="pretrain")
    assert [key for _, key in places(caught.value)] == ["pretrain.data.train.0.path", "sft.data.train.1.path"]
    assert not (tmp_path / "run").exists()  # the tokenizer, which reads the chats too, was not begun


def test_plan_shows_the_plan_and_then_ends_with_all_missing_files(
    lacking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(lacking)])
    told = capsys.readouterr()
    assert caught.value.code == 2
    assert "gatt" in told.out
    assert "the recipe has 3 problems" in told.err
    assert f"{lacking}:12: gatt.constraints: there is no file" in told.err


def test_check_names_each_missing_file_once(lacking: Path, tmp_path: Path) -> None:
    problems = check(load_recipe(lacking), tmp_path).problems
    for line, file in ((5, "docs.txt"), (10, "*.jsonl"), (12, "rules.yaml")):
        (told,) = [problem for problem in problems if file in problem]
        assert f"lacking.yaml:{line}: " in told


@pytest.fixture
def hub_recipe(tmp_path: Path) -> Path:
    """A recipe that starts from a hub checkpoint, which a variable can name otherwise."""
    (tmp_path / "chats.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n' * 3)
    path = tmp_path / "hub.yaml"
    path.write_text(
        f"""\
model:
  path: ${{MY_BASE:-some-owner/some-base}}
sft: {{data: {{train: [{{path: {tmp_path}/chats.jsonl}}]}}}}
"""
    )
    return path


def test_a_hub_checkpoint_that_cannot_be_had_is_one_clear_error(
    hub_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MY_BASE", raising=False)
    monkeypatch.setattr("recipes.cli.run.machine_line", lambda recipe: "machine: fake")
    with pytest.raises(SystemExit) as caught:
        main(["run", str(hub_recipe), "--out", str(tmp_path / "run")])
    told = capsys.readouterr()
    assert caught.value.code == 2
    assert told.err.count("\n") == 1
    for part in (
        "the checkpoint some-owner/some-base is not on this machine",
        "offline mode is on (HF_HUB_OFFLINE)",
        f"set the variable MY_BASE or model.path ({hub_recipe}:2) to a local folder",
        "accept its terms at https://huggingface.co/some-owner/some-base",
        "hf auth login",
    ):
        assert part in told.err
    assert "some-owner/some-base" not in told.out  # said once, at the end


def test_check_says_how_to_name_a_folder_for_a_checkpoint_that_is_not_here(hub_recipe: Path, tmp_path: Path) -> None:
    (told,) = check(load_recipe(hub_recipe, ["model.path=other/base"]), tmp_path).problems
    assert "set model.path (override 'model.path=other/base') to a local folder that holds it" in told


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatedRepoError("401", response=Response(401, request=Request("GET", "https://hub"))), "it is gated"),
        (RepositoryNotFoundError("404", response=Response(404, request=Request("GET", "https://hub"))), "of that name"),
        (LocalEntryNotFoundError("no route"), "not in the hub's cache"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_why_a_checkpoint_cannot_be_fetched_is_said_in_a_few_words(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("alignment.policy.folder.snapshot_download", fail)
    with pytest.raises(CheckpointUnavailable, match=said) as caught:
        load_policy("some-owner/some-base")
    again = copy.copy(caught.value)  # by __reduce__, as a process would send it
    assert (str(again), again.instead) == (str(caught.value), caught.value.instead)
