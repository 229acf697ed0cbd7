"""The schema file beside the shipped recipes: by it editors complete and check a recipe's keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipes.cli.show import show_schema
from recipes.load import shipped_recipes

FILE = Path(__file__).parents[3] / "recipes" / "recipe.schema.json"
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")


def test_the_shipped_schema_is_what_align_schema_prints(capsys: pytest.CaptureFixture[str]) -> None:
    show_schema()
    assert FILE.read_text(encoding="utf-8") == capsys.readouterr().out, "write it anew: make schema"


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_a_shipped_recipe_names_the_schema_in_its_first_line(path: Path) -> None:
    named = MODELINE.fullmatch(path.read_text(encoding="utf-8").splitlines()[0])
    assert named
    assert (path.parent / named.group(1)).resolve() == FILE
