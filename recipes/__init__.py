"""Recipes and what runs them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipes.recipe import Recipe as Recipe
    from recipes.recipe import load_recipe as load_recipe
    from recipes.report import write_run_report as write_run_report
    from recipes.runner import run as run

_HOMES = {
    "run": "recipes.runner",
    "load_recipe": "recipes.recipe",
    "Recipe": "recipes.recipe",
    "write_run_report": "recipes.report",
}
__all__ = ["Recipe", "load_recipe", "run", "write_run_report"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
