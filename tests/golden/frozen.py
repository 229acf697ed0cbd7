"""What of the shipped recipes is frozen without running them: each stage's basis, `align plan`, `align schema`.

Digests of files and versions of packages are stubbed, so that the frozen text is the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from unittest.mock import patch

from recipes.load import load_recipe, shipped_recipes
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.digests import Digests
from recipes.running.fingerprint import PENDING, basis_of

# every variable that a shipped recipe needs
ENVIRONMENT = {"DATA": "data", "ALIGNMENT_DATA": "data", "QUICKSTART": "quickstart"}


def recipe(name: str) -> Recipe:
    """A shipped recipe with its variables set."""
    return load_recipe(name, environment=ENVIRONMENT)


def bases(name: str) -> dict[str, dict[str, Any]]:
    """Stage -> its basis: settings as a digest a leaf group, files by key, parents by name.

    A basis holds some hundred leaves; they are kept as `section.key -> digest of the leaves below`, which is short
    and still says where a difference lies.
    """
    asked = recipe(name)
    found = {}
    with patch("recipes.running.fingerprint.digests_of", lambda paths, digests: dict(sorted(paths.items()))):
        for stage in stages_of(asked):
            basis = basis_of(asked, stage, dict.fromkeys(stage.parents, PENDING), Digests())
            found[stage.name] = {
                "kind": basis["kind"],
                "settings": _grouped(basis["settings"]),
                "count": len(basis["settings"]),
                "files": basis["files"],
                "parents": list(basis["parents"]),
            }
    return found


def _grouped(settings: dict[str, Any]) -> dict[str, str]:
    groups: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        groups.setdefault(".".join(key.split(".")[:3]), {})[key] = value
    return {
        group: hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:12]
        for group, leaves in sorted(groups.items())
    }


def all_bases() -> dict[str, Any]:
    """Recipe -> stage -> basis."""
    return {name: bases(name) for name in shipped_recipes()}
