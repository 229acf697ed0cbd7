"""S13: every dependency is pinned, and the pin lies in the declared range."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house.licences import closure

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# not part of the development install, so the constraints hold no pin: one needs CUDA, the loggers are their users' own
UNPINNED = {"vllm", "bitsandbytes", "tensorboard", "wandb", "mlflow", "trackio"}


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


def test_no_torch_that_ran_code_in_spite_of_weights_only_is_allowed() -> None:
    """Before 2.6, `torch.load(..., weights_only=True)` could be made to run code (CVE-2025-32434)."""
    (torch,) = [one for one in requirements() if one.name == "torch"]
    assert not torch.specifier.contains("2.5.1")
    assert torch.specifier.contains("2.6.0")


def listed() -> dict[str, list[str]]:
    """The rows of docs/licences.md by package: name, version, licence, directly needed."""
    rows = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| ")]
    return {row[0].lower().replace("_", "-"): row for row in cells[1:]}


def test_the_licence_of_every_runtime_dependency_is_listed_direct_or_not() -> None:
    direct = [Requirement(text).name for text in PROJECT["dependencies"]]
    needed = {name.lower().replace("_", "-") for name in closure(direct)}
    assert {name.lower() for name in direct} <= needed
    assert len(needed) > 2 * len(direct)
    # what is not pinned comes with another build of a pinned one, as torch's CUDA libraries do
    assert (needed & pins().keys()) - listed().keys() == set(), (
        "write docs/licences.md anew: python -m tests.house.licences"
    )


def test_every_listed_licence_is_stated_and_of_the_pinned_version() -> None:
    rows = listed()
    assert [name for name, row in rows.items() if row[2] in ("", "not stated")] == []
    assert {name: row[1] for name, row in rows.items()} == {name: pins().get(name) for name in rows}


def test_no_licence_asks_for_the_source_of_what_uses_it() -> None:
    strong = [name for name, row in listed().items() if re.search(r"\bA?GPL|General Public", row[2])]
    assert strong == []
