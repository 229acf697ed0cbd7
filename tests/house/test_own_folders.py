"""Folders of one's own that are called as a package (`reward/`, `gatt/`) do not hide it from an editable install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("alignment", "reward", "rl", "gatt", "recipes")


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with what `pip install -e .` puts there, built from the project's own settings."""
    clone, wheels, site = (tmp_path_factory.mktemp(name) for name in ("clone", "wheels", "site"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *PACKAGES):
        (clone / name).symlink_to(ROOT / name)
    code = (
        "import sys, zipfile, setuptools.build_meta as build\n"
        "wheels, site = sys.argv[1:]\n"
        "zipfile.ZipFile(f'{wheels}/{build.build_editable(wheels)}').extractall(site)"
    )
    subprocess.run([sys.executable, "-c", code, str(wheels), str(site)], cwd=clone, check=True, capture_output=True)
    return site


CALLS = {
    "align": "from recipes.cli import main; main()",
    "python -m recipes.cli": "import runpy; runpy.run_module('recipes.cli', alter_sys=True, run_name='__main__')",
    "Python's public names": "import alignment, reward, rl, gatt, recipes\n"
    "assert [name for p in (reward, rl, gatt) for name in p.__all__]; recipes.load_recipe('quickstart')",
}


@pytest.mark.parametrize("how", CALLS)
def test_the_packages_are_found_in_a_folder_that_holds_folders_of_their_names(
    how: str, editable: Path, tmp_path: Path
) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()  # as a stage's data are most naturally called
        (tmp_path / name / "pairs.jsonl").write_text("{}\n")
    # `-c` has the working folder first on the path, as `python -m` has
    begin = f"import site, sys; site.addsitedir({str(editable)!r}); sys.argv = ['align', 'plan', 'quickstart']\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", begin + CALLS[how]], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
