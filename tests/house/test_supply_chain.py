"""S13: every dependency is pinned, and the pin lies in the declared range."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# not part of the development install: it needs CUDA, so the constraints hold no pin
UNPINNED = {"vllm"}


def requirements() -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for texts in EXTRAS.values() for text in texts)]
    found = [Requirement(text) for text in texts]
    return [one for one in found if one.name != PROJECT["name"] and one.name not in UNPINNED]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line.split("#")[0].strip() for line in lines]
    return {line.split("==")[0].lower().replace("_", "-"): line.split("==")[1] for line in kept if "==" in line}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_a_dependency_is_pinned_within_its_declared_range(requirement: Requirement) -> None:
    name = requirement.name.lower().replace("_", "-")
    assert name in pins(), f"constraints.txt holds no {name}=="
    assert requirement.specifier.contains(pins()[name], prereleases=True)


def test_every_constraint_is_an_exact_pin() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    loose = [line for line in lines if line.split("#")[0].strip() and "==" not in line.split("#")[0]]
    assert loose == []


def test_the_licence_of_every_runtime_dependency_is_listed() -> None:
    listed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    for text in PROJECT["dependencies"]:
        assert f"| {Requirement(text).name} |".lower() in listed.lower()
