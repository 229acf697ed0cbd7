"""Recipes and what runs them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipes.load import load_recipe as load_recipe
    from recipes.reading.schema import Recipe as Recipe
    from recipes.running.page import write_run_report as write_run_report
    from recipes.running.runner import run as run
    from recipes.running.study import run_study as run_study
    from recipes.study import load_study as load_study

_HOMES = {
    "run": "recipes.running.runner",
    "load_recipe": "recipes.load",
    "Recipe": "recipes.reading.schema",
    "load_study": "recipes.study",
    "run_study": "recipes.running.study",
    "write_run_report": "recipes.running.page",
}
__all__ = ["Recipe", "load_recipe", "load_study", "run", "run_study", "write_run_report"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
