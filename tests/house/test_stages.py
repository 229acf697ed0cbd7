"""A kind of stage stands in its own file, the literal table, the plan and the schema; nothing else knows it by name."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from recipes.stages.table import STAGES

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
KNOW_NAMES = ("plan.py", "versions.py", "sections.py", "reading/schema.py")
FOLDERS = {"report"}  # the page's folder in a run is called so too


def names_said(source: str) -> set[str]:
    """The kinds of stages that a file names in its texts."""
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return {
        kind
        for kind in STAGES
        for text in texts
        if isinstance(text, str) and (text == kind or text.startswith((f"{kind}-", f"{kind}.")))
    }


@pytest.mark.parametrize(
    ("source", "found"), [("x = 'sft'", {"sft"}), ("'reward-safety'", {"reward"}), ("'softer'", set())]
)
def test_the_search_finds_names(source: str, found: set[str]) -> None:
    assert names_said(source) == found


def test_a_stages_name_stands_only_in_its_own_file_the_table_the_plan_and_the_schema() -> None:
    elsewhere = {
        place: said
        for path in sorted(RECIPES.rglob("*.py"))
        if not (place := path.relative_to(RECIPES).as_posix()).startswith("stages/") and place not in KNOW_NAMES
        if (said := names_said(path.read_text(encoding="utf-8")) - FOLDERS)
    }
    assert elsewhere == {}


@pytest.mark.parametrize("name", STAGES)
def test_a_kind_of_stage_has_one_file_of_its_own(name: str) -> None:
    kind = STAGES[name]
    file = RECIPES / "stages" / f"{name}.py"
    for function in (
        kind.run,
        kind.section,
        kind.size,
        kind.needs,
        kind.prepare,
        kind.opening,
        kind.stands,
        kind.doubts,
    ):
        home = Path(inspect.getfile(function)) if function is not None else file
        assert home in (file, RECIPES / "stages" / "kind.py")
    assert file.read_text(encoding="utf-8").count("\n") <= 175


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_file_calls_public_names_only(name: str) -> None:
    tree = ast.parse((RECIPES / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    private = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and node.module != "__future__"
    ]
    assert private == []
