"""What of the shipped recipes is frozen: what each stage rests on, what `align plan` and `align schema` print."""

from __future__ import annotations

import pytest

from recipes.load import shipped_recipes
from tests.golden.frozen import bases
from tests.golden.write import FOLDER, golden, plan_text, schema

SAY = "it changed: say so in the commit, and `python -m tests.golden.write` in it"


def test_every_shipped_recipe_is_frozen() -> None:
    assert golden("bases").keys() == shipped_recipes().keys()
    assert {path.stem for path in (FOLDER / "plans").glob("*.txt")} == shipped_recipes().keys()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_what_every_stage_rests_on_is_the_frozen_basis(name: str) -> None:
    assert bases(name) == golden("bases")[name], SAY


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_the_plan_is_the_frozen_one(name: str) -> None:
    assert plan_text(name) == (FOLDER / "plans" / f"{name}.txt").read_text(encoding="utf-8"), SAY


def test_the_schema_is_the_frozen_one() -> None:
    assert schema() == golden("schema"), SAY
