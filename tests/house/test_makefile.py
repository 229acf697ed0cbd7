"""`make quickstart`: what it says before and after, and how it installs.  Nothing is installed here (`make -n`)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.recipes.cli.test_examples_in_text import parsed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quickstart(tmp_path: Path) -> list[str]:
    """The lines that `make quickstart` would run in a fresh clone, where there is no uv."""
    return planned(tmp_path, uv=False)


def planned(folder: Path, *, uv: bool) -> list[str]:
    """The lines of `make -n quickstart` in a clone without an environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).symlink_to(ROOT / name)
    (tools := folder / "bin").mkdir()
    if uv:
        (tools / "uv").write_text("#!/bin/sh\n")
        (tools / "uv").chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    done = subprocess.run(
        ["make", "-n", "quickstart"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path, "MAKEFLAGS": ""},
    )
    return done.stdout.splitlines()


def at(lines: list[str], part: str) -> int:
    """The one line that holds a text."""
    (found,) = (number for number, line in enumerate(lines) if part in line)
    return found


def test_it_says_what_it_will_take_before_it_does_anything(quickstart: list[str]) -> None:
    first = at(quickstart, "-m venv")
    told = "\n".join(quickstart[:first])
    for what in (r"1\.6 GB on the disk", r"\d+ to \d+ minutes on two idle", r"on a busy machine", r"1 GB of memory"):
        assert re.search(what, told)


def test_the_install_shows_its_progress(quickstart: list[str]) -> None:
    (install,) = (line for line in quickstart if "pip install" in line)
    assert not {"-q", "--quiet"} & set(install.split())
    assert at(quickstart, "installing into .venv") < quickstart.index(install) < at(quickstart, "align run quickstart")


def test_uv_installs_where_it_is_there(tmp_path: Path) -> None:
    (install,) = (line for line in planned(tmp_path, uv=True) if "pip install" in line)
    assert install.startswith(f"{tmp_path}/bin/uv pip install --python .venv/bin/python -c constraints.txt")


def test_it_ends_with_the_next_commands_as_they_must_be_typed(quickstart: list[str]) -> None:
    after = quickstart[at(quickstart, "align run quickstart") + 1 :]
    commands = [found.group(1).split("#")[0].split() for line in after if (found := re.search(r'"  (\S.*)"', line))]
    assert [command[:2] for command in commands] == [
        [".venv/bin/align", verb] for verb in ("report", "chat", "recipes")
    ]
    for _, *arguments in commands:
        if len(arguments) > 1:
            assert parsed(arguments)  # raises where the command line would refuse it
