"""S2: a recipe is data: nothing in it can name Python, and nothing of it grows without bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.cli import main

CANARY = "canary"
RECIPES = {
    "a Python tag": f"name: !!python/object/apply:os.system ['touch {CANARY}']\n",
    "a tag of a module": "name: !!python/module:os\n",
    "a new object": "name: !!python/object/new:pathlib.Path [x]\n",
    "a component by its path": "model:\n  _target_: os.system\n  _args_: [touch canary]\n",
    "a torchtune component": "model:\n  _component_: os.system\n",
    "a function": "sft:\n  optimizer: !function os.system\n",
    "billion laughs": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)),
    "ten megabytes": "# " + "x" * 10_000_000 + "\nname: big\n",
    "a template": "name: '{{ cycler.__init__.__globals__.os.system(1) }}'\n",
}
OVERRIDES = [
    "__class__.x=1",
    "model.__class__=1",
    "model_config.extra=allow",
    "model.model_config.extra=allow",
    "sft.__dict__.x=1",
    "name=!!python/object/apply:os.system [touch canary]",
    "model_fields.name=x",
]


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_as_code_is_refused_with_a_sentence(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPES[kind])
    _refused([str(path)], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_reaches_nothing_outside_the_schema(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused(["quickstart", override], tmp_path, monkeypatch, capsys)


def test_a_function_that_scores_is_not_imported_without_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores_of_a_stranger.py").write_text(f"open('{CANARY}', 'w')\ndef f(dialogues): return []\n")
    _refused(["quickstart", "reward.safety={function: 'scores_of_a_stranger:f'}"], tmp_path, monkeypatch, capsys)


def _refused(
    arguments: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(place.iterdir())
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments, "--out", str(place / "run")])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "error" in said
    assert "Traceback" not in said
    assert set(place.iterdir()) == before
