"""A small recipe and stages that only leave a file: what walks the plan is tested without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.stages.context import StageContext
from recipes.stages.kind import StageInputs
from recipes.stages.table import STAGES

SMALL = Path(__file__).with_name("small.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a power cut is tested with the store; here twelve stages a test need not wait for it."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """A data file that the small recipe's SFT reads."""
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"instruction": "Say hello.", "output": "Hello."}\n{"instruction": "Say bye.", "output": "Bye."}\n'
    )
    return path


@pytest.fixture
def recipe_file(tmp_path: Path, data_file: Path) -> Path:
    """The small recipe as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace("DATA", str(data_file)))
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    """The small recipe."""
    return load_recipe(recipe_file)


class FakeStages(Mapping[str, Callable[[StageInputs, StageContext], dict[str, Any]]]):
    """A stage table whose stages write one file and remember that they were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.before: dict[str, Callable[[StageContext], None]] = {}  # stage name -> done inside the stage first

    def __getitem__(self, kind: str) -> Callable[[StageInputs, StageContext], dict[str, Any]]:
        if kind not in STAGES:
            raise KeyError(kind)
        return self._work

    def __iter__(self) -> Iterator[str]:
        return iter(STAGES)

    def __len__(self) -> int:
        return len(STAGES)

    def _work(self, inputs: StageInputs, context: StageContext) -> dict[str, Any]:
        name = context.stage.name
        self.calls.append(name)
        if name in self.before:
            self.before[name](context)
        parents = {parent: context.folder_of(parent).name for parent in context.stage.parents}
        (context.session.folder / "made.json").write_text(json.dumps(parents))
        return {"held_out_loss": 1.25, "name": name}


@pytest.fixture
def stages() -> FakeStages:
    """A fresh table of fake stages."""
    return FakeStages()
