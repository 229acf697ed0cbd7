"""An environment of its own for a peer that our dependencies exclude, made once and kept in a cache folder.

Every package that decides a figure is pinned, torch to the build that runs here (its local label too, so that pip never
takes a CUDA build in its place).  Where pip's index has no such wheel, say where it is:
`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

_MADE = "made.txt"  # written last: what is installed
_TOLD = 2000  # characters of what pip said, where it failed

Install = Callable[[Path, Sequence[str]], None]


def cache_folder() -> Path:
    """Where environments are kept: $XDG_CACHE_HOME or ~/.cache, below a folder of our own."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llama2-alignment-suite" / "peers"


def pip_install(python: Path, packages: Sequence[str]) -> None:
    """Install into the environment of an interpreter.

    Raises:
        SystemExit: pip failed; with the end of what it said.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(packages)} cannot be installed for the peer:\n{done.stderr[-_TOLD:].strip()}")


def peer_python(name: str, packages: Sequence[str], folder: Path, install: Install = pip_install) -> Path:
    """The interpreter of the environment that holds these packages, which is made if it is not there.

    Args:
        name: what the environment is called; packages or an interpreter that differ make another one.
        packages: as pip reads them, each with its version.
        folder: where environments are kept.
        install: puts packages into the environment of an interpreter.

    Raises:
        ValueError: a package has no version.
    """
    loose = [package for package in packages if "==" not in package]
    if loose:
        raise ValueError(f"{', '.join(loose)} has no version; name==version is needed")
    holds = "\n".join((sys.version, *packages))
    place = folder / f"{name}-{hashlib.sha256(holds.encode()).hexdigest()[:12]}"
    python = place / "bin" / "python"
    if (place / _MADE).is_file():
        return python
    shutil.rmtree(place, ignore_errors=True)  # half made
    print(f"making the peer's environment in {place}, some minutes once", file=sys.stderr, flush=True)
    venv.create(place, with_pip=True)
    install(python, packages)
    (place / _MADE).write_text(holds, encoding="utf-8")
    return python
