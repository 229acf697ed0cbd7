"""Fingerprints: what a stage's result rests on, and what a change brings down.  No torch.

A stage's basis is what it was handed (its inputs' settings, the digests of the files that they name), its parents'
outputs, its kind's revision and the versions that matter.  Its fingerprint is the basis' SHA-256.  Kept readable in
stage.json, so that a change can be told as key, old -> new.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from alignment.settings import Settings
from alignment.strict_yaml import dotted
from alignment.world.settings import PART_VERSIONS
from recipes.masking import is_secret_name
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.digests import Digests, digests_of, named_paths
from recipes.stages.kind import PlannedStage, Surrounding

SUITE = "llama2-alignment-suite"
PENDING = "(not done yet)"
ABSENT = "(absent)"

Basis = Mapping[str, Any]  # {"kind": str, "settings": {...}, "files": {...}, "parents": {...}, "versions": {...}}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between what a stage was done with and what is asked now."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.old)} -> {_short(self.new)}"


def read_settings(recipe: Recipe, stage: PlannedStage) -> dict[str, Any]:
    """The settings that a stage's result rests on: dotted key of the recipe -> value or section."""
    found: dict[str, Any] = {}
    if Surrounding.SEED in stage.kind.surroundings:
        found["seed"] = recipe.seed
    if Surrounding.COMPUTE in stage.kind.surroundings:
        found["compute"] = recipe.compute
    found |= stage.inputs.reads()
    if stage.inputs.world is not None:
        found["world"] = stage.inputs.world
    if stage.inputs.apart is not None:
        found |= stage.inputs.apart.reads()
    return found


def basis_of(recipe: Recipe, stage: PlannedStage, parents: Mapping[str, str], digests: Digests) -> dict[str, Any]:
    """What a stage's result rests on, as plain JSON values; whoever keeps or shows it masks it first.

    Nothing is masked here: a variable of the environment whose value happens to stand in a setting would change what
    the result seems to rest on.

    Args:
        recipe: for what every stage is surrounded by, and for how its values were written.
        parents: name -> digest of the parent's output, `PENDING` while it is not done.
        digests: of input files.

    Raises:
        DataError: an input file is missing.
    """
    sections = read_settings(recipe, stage)
    paths = dict(path for key, value in sections.items() for path in named_paths(value, key))
    files = digests_of(paths, digests)
    settings = dict(leaf for key, value in sections.items() for leaf in flattened(key, value))
    for key in stage.inputs.told_by_parents:
        settings.pop(key, None)
    for path, expansion in recipe.origin.expansions.items():
        key = dotted(path)
        if key in settings and (key in paths or (expansion.names and all(map(is_secret_name, expansion.names)))):
            settings[key] = expansion.raw  # a moved folder with the same files is no change; a secret is none
    basis = {
        "kind": stage.kind.name,
        "settings": settings,
        "files": files,
        "parents": {name: parents[name] for name in stage.parents},
        "versions": (versions_that_matter() if Surrounding.VERSIONS in stage.kind.surroundings else {})
        | versions_of_the_world(stage),
    }
    # left out while it is the first, so that runs of the release before revisions are the same
    return {**basis, "revision": stage.revision} if stage.revision > 1 else basis


def of_this_release(basis: Basis, mark: str) -> tuple[Basis, str]:
    """A stored basis and its fingerprint as this release would have written them.

    Release 0.1.0 kept its own version in every basis, so that the next release would have thrown away finished runs; a
    kind's revision takes its place, and 0.1.0's results are the first.
    """
    versions = basis.get("versions")
    if not isinstance(versions, Mapping) or versions.get(SUITE) != "0.1.0" or fingerprint(basis) != mark:
        return basis, mark
    found = {**basis, "versions": {name: version for name, version in versions.items() if name != SUITE}}
    return found, fingerprint(found)


def fingerprint(basis: Basis) -> str:
    """SHA-256 of a basis, in hex."""
    canonical = json.dumps(basis, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def plan_fingerprint(recipe: Recipe, digests: Digests | None = None) -> str:
    """One digest of everything that decides a run's results: stages, settings, files, versions."""
    digests = digests or Digests()
    known: dict[str, str] = {}
    shape = []
    for stage in stages_of(recipe):
        known[stage.name] = fingerprint(basis_of(recipe, stage, known, digests))
        shape.append([stage.name, stage.kind.name, stage.starts_from or "", known[stage.name]])
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def changes(old: Basis, new: Basis) -> list[Change]:
    """What differs between two bases, in the order kind, revision, settings, files, parents, versions."""
    found = []
    if old.get("kind") != new.get("kind"):
        found.append(Change(key="kind", old=old.get("kind"), new=new.get("kind")))
    if old.get("revision", 1) != new.get("revision", 1):
        told = f"revision of the stage {new.get('kind')}"
        found.append(Change(key=told, old=old.get("revision", 1), new=new.get("revision", 1)))
    for group, prefix in (("settings", ""), ("files", "file "), ("parents", "result of "), ("versions", "version of ")):
        before, after = _mapping(old.get(group)), _mapping(new.get(group))
        for key in sorted(before.keys() | after.keys()):
            was, now = before.get(key, ABSENT), after.get(key, ABSENT)
            if was != now or type(was) is not type(now):
                found.append(Change(key=prefix + key, old=was, new=now))
    return found


def versions_of_the_world(stage: PlannedStage) -> dict[str, str]:
    """Which version of the embedded world's parts it reads, of those that have changed since the first."""
    sources = [source for data in stage.inputs.data() for source in data.settings.sources]
    parts = {source.world.partition("/")[0] for source in sources if source.world}
    return {f"the world's {part}": str(PART_VERSIONS[part]) for part in sorted(parts & PART_VERSIONS.keys())}


@cache
def versions_that_matter() -> dict[str, str]:
    """Versions that can change a result, from the installed packages' metadata (nothing is imported)."""
    found = {}
    for package in ("torch", "transformers"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def flattened(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a section: dotted key -> plain value; what is cosmetic is left out."""
    if isinstance(value, Settings):
        value = value.fingerprint_values()
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flattened(f"{key}.{name}", item)
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from flattened(f"{key}.{index}", item)
    else:
        yield key, value if not isinstance(value, (Mapping, list, tuple)) else repr(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value in (ABSENT, PENDING) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value):
        return value[:12] + "…"
    return text if len(text) <= 100 else text[:97] + "…"
