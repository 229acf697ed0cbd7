"""Writes docs/licences.md: name, version and licence of everything that a plain install brings, also indirectly.

`python -m tests.house.licences`, in the environment that `make quickstart` builds.
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def closure(names: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions of that name and all that they need here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on another system only
        key = distribution.metadata["Name"]
        if key in found:
            continue
        found[key] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def licence(distribution: metadata.Distribution) -> str:
    """The licence as the package states it."""
    info = distribution.metadata
    stated = info.get("License-Expression") or ""
    classifiers = [
        text.rsplit(" :: ", 1)[1] for text in info.get_all("Classifier", []) if text.startswith("License ::")
    ]
    first = (info.get("License") or "").strip().splitlines()[:1]
    return (stated or ", ".join(classifiers) or "".join(first)[:60] or "not stated").replace("|", "/")


def main() -> None:
    """Write the page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [Requirement(text).name for text in project["dependencies"]]
    found = closure(direct)
    lines = [
        "# Licences of the dependencies",
        "",
        "Written by `python -m tests.house.licences`: what a plain install with a CPU build "
        "of torch brings, as each package states it. CUDA builds bring NVIDIA's libraries, under NVIDIA's licences.",
        "",
        "| package | version | licence | needed directly |",
        "|---|---|---|---|",
    ]
    for name in sorted(found, key=str.lower):
        mark = "yes" if name.lower() in {one.lower() for one in direct} else ""
        version = Version(found[name].version).public  # without the build, as in 2.13.0+cpu
        lines.append(f"| {name} | {version} | {licence(found[name])} | {mark} |")
    (ROOT / "docs" / "licences.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
