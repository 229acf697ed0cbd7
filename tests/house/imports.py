"""The import graph of the five packages, read from the source without importing anything."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alignment", "reward", "rl", "gatt", "recipes")
# the floors, the ground first; a file imports from its own floor or from below
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "alignment.errors",
        "alignment.process",
        "alignment.version",
        "alignment.settings",
        "alignment.randomness",
        "alignment.records",
    ),
    (
        "alignment.clash",
        "alignment.constraint",
        "alignment.rules",
        "alignment.given",
        "alignment.judging",
        "alignment.store",
        "alignment.strict_yaml",
    ),
    ("alignment.model", "alignment.text", "alignment.report"),
    ("alignment.batch", "alignment.policy", "alignment.data", "alignment.world"),
    ("alignment.train", "alignment.generate"),
    ("alignment.evaluate", "alignment.annotate", "reward", "gatt"),
    ("rl",),
    # the corridors of recipes
    ("recipes.masking",),
    ("recipes.reading",),
    ("recipes.stages",),
    ("recipes.plan",),
    ("recipes.load", "recipes.study"),
    ("recipes.running",),
    ("recipes.cli",),
)


@cache
def source_files() -> list[Path]:
    """Every Python file of the five packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    """alignment/model/llama.py -> alignment.model.llama."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    """The floor that a module stands on; None for the packages' own names."""
    for number, rooms in enumerate(FLOORS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return number
    return None


@cache
def _modules() -> frozenset[str]:
    return frozenset(module_name(file) for file in source_files())


@cache
def imports_of(path: Path, *, top_level_only: bool = False) -> list[tuple[int, str]]:
    """(line, module) of every import of ours; those under `if TYPE_CHECKING` are left out with `top_level_only`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    modules = _modules()
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append((node.lineno, inner if inner in modules else node.module))
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
    return [(line, module) for line, module in found if module.split(".")[0] in PACKAGES]
