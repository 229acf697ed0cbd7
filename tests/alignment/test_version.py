"""The version that the suite tells: the installed one, else the source's, which is pyproject.toml's."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import alignment
from alignment import version as version_module


def test_a_source_tree_that_is_not_installed_tells_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version_module, "version", absent)
    assert version_module.installed_version() == version_module.SOURCE_VERSION


def test_the_installed_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_module, "version", {"llama2-alignment-suite": "9.8.7"}.__getitem__)
    assert version_module.installed_version() == "9.8.7"
    assert isinstance(alignment.__version__, str)


def test_the_source_has_the_version_that_is_packaged() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == version_module.SOURCE_VERSION
