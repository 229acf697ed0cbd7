"""Where the files of the shipped real-data recipes come from: `origins.json`, as sentences and as a table.

`python -m alignment.data.catalogue.origins` prints the table that stands in `docs/data.md`;
`python -m alignment.data.catalogue.origins FOLDER` compares a folder with it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

from alignment.data.rows.lines import Damaged, read_chunks
from alignment.errors import DataError

FOLDER_VARIABLE = "ALIGNMENT_DATA"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One file of the data folder.

    Attributes:
        path: where the recipes look for it inside the folder.
        origin: the public repository (owner/name on GitHub) or publisher.
        origin_path: the file there, "" where it is to be found in the repository.
        commit: the commit it was taken at, "" where there is none.
        sha256: of the file as the recipes were measured with it.
        content_sha256: of its bytes unpacked; equal for every packing of the same rows.
        rows: rows or documents, None for what has no rows.
    """

    path: str
    origin: str
    origin_path: str
    commit: str
    licence: str
    sha256: str
    content_sha256: str
    bytes: int
    rows: int | None

    @property
    def where(self) -> str:
        """Repository, path and commit in words."""
        place = f", {self.origin_path}" if self.origin_path else ", see the repository" if self.commit else ""
        return f"{self.origin}{place}" + (f" at commit {self.commit}" if self.commit else "")


@cache
def read_origins() -> tuple[Origin, ...]:
    """The table, by path."""
    text = resources.files("alignment.data.catalogue").joinpath("origins.json").read_text(encoding="utf-8")
    return tuple(Origin(**entry) for entry in json.loads(text))


def describe_missing(path: str | Path) -> str | None:
    """Where a missing file of the data folder comes from, as a clause; None for a path not in the table.

    Args:
        path: a file or glob; known by its place under $ALIGNMENT_DATA, or by its last two names.
    """
    found = _find(str(path))
    if not found:
        return None
    first = found[0]
    if len(found) == 1:
        what = f"it comes from {first.where} ({first.licence}), SHA-256 {first.sha256}"
    else:
        names = ", ".join(PurePosixPath(origin.path).name for origin in found)
        what = f"its {len(found)} files ({names}) come from {first.where}"
    folder = os.environ.get(FOLDER_VARIABLE) or "not set"
    return f"{what}; {FOLDER_VARIABLE} is {folder}, docs/data.md says how to gather it"


def describe_different(path: str | Path, sha256: str) -> str | None:
    """What is to be said about a file of the data folder with other bytes than the measured one.

    Returns:
        A sentence, None where the file is as in the table (packed differently or not) or is not in it.
    """
    found = _find(str(path))
    if len(found) != 1 or found[0].sha256 == sha256:
        return None
    if content_sha256(Path(path)) == found[0].content_sha256:
        return None
    origin = found[0]
    rows = f", {origin.rows:,} rows" if origin.rows else ""
    return (
        f"{path} differs from the file that the recipes were measured with (SHA-256 {sha256}, there "
        f"{origin.sha256}{rows}, from {origin.where})"
    )


def content_sha256(path: Path) -> str | None:
    """SHA-256 of a file's unpacked bytes; None where it cannot be unpacked."""
    digest = hashlib.sha256()
    try:
        for chunk in read_chunks(path):
            digest.update(chunk)
    except (Damaged, DataError):
        return None
    return digest.hexdigest()


def _find(path: str) -> list[Origin]:
    inside = _in_folder(path)
    parts = PurePosixPath(Path(path).as_posix()).parts
    found = []
    for origin in read_origins():
        here = PurePosixPath(origin.path).parts
        tail = inside or "/".join(parts[-len(here) :])
        if fnmatch.fnmatchcase(origin.path, tail):
            found.append(origin)
    return found


def _in_folder(path: str) -> str | None:
    """A path's place under $ALIGNMENT_DATA, None where it is not there."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    absolute, root = Path.cwd() / path, Path.cwd() / folder
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else None


def origins_table() -> str:
    """The table of `docs/data.md`, in Markdown."""
    lines = [
        "| file | rows | origin | licence | SHA-256 of the file | of its content |",
        "|---|---:|---|---|---|---|",
    ]
    for origin in read_origins():
        rows = f"{origin.rows:,}" if origin.rows else ""
        lines.append(
            f"| {origin.path} | {rows} | {origin.where} | {origin.licence} | `{origin.sha256}` | "
            f"`{origin.content_sha256}` |"
        )
    return "\n".join(lines) + "\n"


def compare_folder(folder: Path) -> list[tuple[str, str]]:
    """Every file of the table and its state in a folder: as measured, same content, different or missing."""
    found = []
    for origin in read_origins():
        path = folder / origin.path
        if not path.is_file():
            state = f"missing; from {origin.where}"
        elif hashlib.sha256(path.read_bytes()).hexdigest() == origin.sha256:
            state = "as measured"
        else:
            state = "same content" if content_sha256(path) == origin.content_sha256 else "different"
        found.append((origin.path, state))
    return found


def main(arguments: list[str]) -> int:
    """Print the table, or compare a folder with it (exit code 1 where a file is missing or different)."""
    if not arguments:
        sys.stdout.write(origins_table())
        return 0
    states = compare_folder(Path(arguments[0]))
    sys.stdout.writelines(f"{path}: {state}\n" for path, state in states)
    return int(any(state not in ("as measured", "same content") for _, state in states))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
