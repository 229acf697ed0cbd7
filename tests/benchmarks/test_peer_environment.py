"""A peer's environment is made once, pinned, and made anew where it is half made or asked for otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.peer_environment import cache_folder, peer_python


class Installs:
    """Installs nothing and remembers what for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, python: Path, packages: Sequence[str]) -> None:
        assert python.exists()
        self.asked.append(tuple(packages))


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments are made without pip, which takes seconds and which nothing here calls."""
    import venv

    real = venv.create
    monkeypatch.setattr(venv, "create", lambda place, with_pip: real(place, with_pip=False, symlinks=True))


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    installs = Installs()
    first = peer_python("trl", ["trl==1.0"], tmp_path, installs)
    assert peer_python("trl", ["trl==1.0"], tmp_path, installs) == first
    assert installs.asked == [("trl==1.0",)]
    assert first.is_file()


def test_other_packages_are_another_environment(tmp_path: Path) -> None:
    installs = Installs()
    first = peer_python("trl", ["trl==1.0"], tmp_path, installs)
    assert peer_python("trl", ["trl==1.1"], tmp_path, installs) != first
    assert len(installs.asked) == 2


def test_one_whose_packages_did_not_install_is_made_anew(tmp_path: Path) -> None:
    def fails(python: Path, packages: Sequence[str]) -> None:
        raise SystemExit("no such package")

    with pytest.raises(SystemExit, match="no such package"):
        peer_python("trl", ["trl==1.0"], tmp_path, fails)
    installs = Installs()
    peer_python("trl", ["trl==1.0"], tmp_path, installs)
    assert len(installs.asked) == 1


def test_a_package_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="torch has no version; name==version is needed"):
        peer_python("trl", ["torch", "trl==1.0"], tmp_path, Installs())
    assert not any(tmp_path.iterdir())


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in cache_folder().parents
