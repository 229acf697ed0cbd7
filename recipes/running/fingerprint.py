"""Fingerprints: what a stage's result rests on, and what a change brings down.  No torch.

A stage's basis is its settings that matter, the digests of its input files, its parents' outputs and
the versions that matter.  Its fingerprint is the basis' SHA-256.  Kept readable in stage.json, so that
a change can be told as key, old -> new.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alignment.data.settings import SourceSettings
from alignment.settings import Settings
from recipes.masking import is_secret_name, mask_values
from recipes.plan import PlannedStage, stages_of
from recipes.reading.schema import Recipe
from recipes.reading.yaml_loader import dotted
from recipes.running.digests import Digests, digests_of, files_of, named_paths

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


def stage_settings(recipe: Recipe, stage: PlannedStage) -> dict[str, Any]:
    """The settings that a stage's result rests on: dotted key of the recipe -> value or section."""
    kind = stage.kind
    if kind == "report":
        return {}
    found: dict[str, Any] = {"seed": recipe.seed}
    if kind == "tokenizer":
        found["tokenizer"] = recipe.tokenizer
        if recipe.tokenizer.data is None and recipe.tokenizer.path is None and recipe.pretrain is not None:
            found["pretrain.data"] = recipe.pretrain.data
        if recipe.tokenizer_data is not None and recipe.sft is not None:
            found["sft.data"] = recipe.sft.data  # its texts are trained on too
        if recipe.tokenizer.path is None and recipe.tokenizer_data is None:
            found["model.path"], found["model.revision"] = recipe.model.path, recipe.model.revision
        return _with_world(recipe, stage, found)
    found["compute"] = recipe.compute
    if kind in ("pretrain", "sft") or stage.starts_from is None:
        found["model"] = recipe.model
    if kind == "pretrain":
        found["pretrain"] = recipe.pretrain
    elif kind == "sft":
        found["sft"] = recipe.sft
    elif kind == "reward" and recipe.reward is not None:
        found[f"reward.{stage.role}"] = getattr(recipe.reward, str(stage.role))
    elif kind in ("rejection", "ppo") and recipe.rlhf is not None:
        for name in ("prompts", "safety_prompts", "combination", kind):
            found[f"rlhf.{name}"] = getattr(recipe.rlhf, name)
        if kind == "rejection" and recipe.rlhf.rejection.sft_share > 0 and recipe.sft is not None:
            found["sft.data"] = recipe.sft.data
    elif kind == "gatt" and recipe.gatt is not None:
        found["gatt"] = recipe.gatt
        if recipe.gatt.sft_share > 0 and recipe.sft is not None:
            found["sft.data"] = recipe.sft.data
    elif kind == "evaluate":
        found["evaluate"] = recipe.evaluate
        if recipe.rlhf is not None:
            for name in ("prompts", "safety_prompts", "combination"):
                found[f"rlhf.{name}"] = getattr(recipe.rlhf, name)
        elif recipe.sft is not None:
            found["sft.data"] = recipe.sft.data
    return _with_world(recipe, stage, found)


def basis_of(recipe: Recipe, stage: PlannedStage, parents: Mapping[str, str], digests: Digests) -> dict[str, Any]:
    """What a stage's result rests on, as plain JSON values.

    Args:
        parents: name -> digest of the parent's output, `PENDING` while it is not done.
        digests: of input files.

    Raises:
        DataError: an input file is missing.
    """
    sections = stage_settings(recipe, stage)
    paths = dict(path for key, value in sections.items() for path in _paths(key, value))
    files = digests_of(paths, digests)
    settings = dict(leaf for key, value in sections.items() for leaf in flattened(key, value))
    settings.pop("gatt.after", None)  # told by the parents: naming the last version or 0 is the same stage
    for path, expansion in recipe.origin.expansions.items():
        key = dotted(path)
        if key in settings and (key in paths or (expansion.names and all(map(is_secret_name, expansion.names)))):
            settings[key] = expansion.raw  # a moved folder with the same files is no change; a secret is none
    settings = mask_values(settings)
    return {
        "kind": stage.kind,
        "settings": settings,
        "files": files,
        "parents": {name: parents[name] for name in stage.parents},
        "versions": versions_that_matter() if stage.kind != "report" else {SUITE: versions_that_matter()[SUITE]},
    }


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
        shape.append([stage.name, stage.kind, stage.starts_from or "", known[stage.name]])
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def changes(old: Basis, new: Basis) -> list[Change]:
    """What differs between two bases, in the order kind, settings, files, parents, versions."""
    found = []
    if old.get("kind") != new.get("kind"):
        found.append(Change(key="kind", old=old.get("kind"), new=new.get("kind")))
    for group, prefix in (("settings", ""), ("files", "file "), ("parents", "result of "), ("versions", "version of ")):
        before, after = _mapping(old.get(group)), _mapping(new.get(group))
        for key in sorted(before.keys() | after.keys()):
            was, now = before.get(key, ABSENT), after.get(key, ABSENT)
            if was != now or type(was) is not type(now):
                found.append(Change(key=prefix + key, old=was, new=now))
    return found


def check_inputs(recipe: Recipe, stages: tuple[PlannedStage, ...]) -> None:
    """See that every input file of these stages is there; reads none.

    Raises:
        DataError: naming the key and the path.
    """
    for stage in stages:
        for key, value in stage_settings(recipe, stage).items():
            for name, path in _paths(key, value):
                files_of(path, name)


@cache
def versions_that_matter() -> dict[str, str]:
    """Versions that can change a result, from the installed packages' metadata (nothing is imported)."""
    found = {}
    for package in ("torch", "transformers", SUITE):
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


def _paths(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if key == "model.path":
        if value is not None and Path(value).exists():
            yield key, value
    else:
        yield from named_paths(value, key)


def _with_world(recipe: Recipe, stage: PlannedStage, found: dict[str, Any]) -> dict[str, Any]:
    """Add the embedded world where the stage reads or judges by it."""
    gatt = recipe.gatt if stage.kind == "gatt" else None
    judged = stage.kind == "evaluate" or (gatt is not None and gatt.constraints == "world")
    if recipe.world is not None and (judged or any(_reads_world(value) for value in found.values())):
        found["world"] = recipe.world
    return found


def _reads_world(value: Any) -> bool:
    if isinstance(value, SourceSettings):
        return value.world is not None
    if isinstance(value, Settings):
        return any(_reads_world(getattr(value, name)) for name in type(value).model_fields)
    return isinstance(value, (list, tuple)) and any(_reads_world(item) for item in value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value in (ABSENT, PENDING) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value):
        return value[:12] + "…"
    return text if len(text) <= 100 else text[:97] + "…"
