"""The truth reaches training through the simulated annotators alone: nobody else on the way imports the gold judge."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("house_imports", Path(__file__).with_name("imports.py"))
assert _SPEC
assert _SPEC.loader
house = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(house)

GOLD = "alignment.world.judge.gold"
TO_TRAINING = {"alignment.world.judge.annotators"}
# reports: what they make nobody trains on
TO_REPORTS = {
    "alignment.world",  # its public name
    "alignment.world.world",  # World.judge()
    "alignment.world.examples",  # the documentation's tables
    "alignment.evaluate.accuracy",
    "recipes.stages.context",  # hands it to the evaluation
}
OPENERS = {"gold_judge": {"recipes.stages.asked"}, "judge": {"alignment.evaluate.accuracy", "alignment.world.examples"}}


def _importers(of: str) -> set[str]:
    return {
        house.module_name(path)
        for path in house.source_files()
        for _, module in house.imports_of(path)
        if module == of and house.module_name(path) != of
    }


def test_only_the_annotators_and_reports_import_the_gold_judge() -> None:
    assert _importers(GOLD) == TO_TRAINING | TO_REPORTS


def test_nobody_takes_it_by_the_packages_name() -> None:
    """`from alignment.world import GoldJudge` would hide it from the test above."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in house.source_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "alignment.world"
        if any(alias.name == "GoldJudge" for alias in node.names)
    ]
    assert found == []


def test_the_judges_parts_are_read_by_the_gold_judge_alone() -> None:
    parts = ("content", "claims", "fluency", "refusing", "weights")
    for part in parts:
        outside = {name for name in _importers(f"alignment.world.judge.{part}") if ".judge." not in name}
        assert outside == set(), part


@pytest.mark.parametrize("method", OPENERS)
def test_a_towns_judge_is_opened_for_reports_alone(method: str) -> None:
    """`world.judge()` without answers, and the stages' `gold_judge(prompts)`."""
    found = set()
    for path in house.source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                opens = method == "gold_judge" or (not node.args and not node.keywords)
                found |= {house.module_name(path)} if opens else set()
    assert found - {"recipes.stages.context"} == OPENERS[method]


def test_the_stages_that_open_it_train_nothing() -> None:
    """`judges_of` hands the gold judge to the evaluation, and to no other stage."""
    assert _importers("recipes.stages.asked") == {"recipes.stages.evaluate"}
