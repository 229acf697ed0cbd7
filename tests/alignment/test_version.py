"""What the suite says of itself: its version, in every place the same, and that its packages are typed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import alignment
from alignment import version as version_module
from tests.house.imports import PACKAGES

ROOT = Path(__file__).parents[2]


def test_a_source_tree_that_is_not_installed_tells_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version_module, "version", absent)
    assert version_module.installed_version() == version_module.SOURCE_VERSION


def test_the_installed_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_module, "version", {"llama2-alignment-suite": "9.8.7"}.__getitem__)
    assert version_module.installed_version() == "9.8.7"
    assert isinstance(alignment.__version__, str)


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("pyproject.toml", r'^version = "(.+)"$'),
        ("CITATION.cff", r"^version: (.+)$"),
        ("CHANGELOG.md", r"^## (\d\S*)"),
    ],
)
def test_every_file_tells_the_same_version(file: str, pattern: str) -> None:
    told = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert told
    assert told.group(1) == version_module.SOURCE_VERSION


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed_and_brings_the_mark_along(package: str) -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert (ROOT / package / "py.typed").exists()
    assert "py.typed" in tools["setuptools"]["package-data"][package]
