"""Which files a path or glob names: regular files, sorted by name; what is odd among them is told, not passed over."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from pathlib import Path

from alignment.data.catalogue.origins import describe_missing
from alignment.data.forms.columns import nearest
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.store.regular import file_kind

MOST_NAMES = 200_000  # looked at for a glob without finding what fits: it leads through a whole disk


def find_files(settings: SourceSettings) -> list[Path]:
    """The files that a path or glob names, sorted by name.

    Raises:
        DataError: there is none (says which names are near, and where a known file comes from), one is no regular file,
            or the glob leads through more names than anybody's data have.
    """
    pattern = str(Path(settings.path or "").expanduser())
    is_folder, is_glob = os.path.isdir(pattern), glob.has_magic(pattern)  # noqa: PTH112 (it raises nothing)
    if os.path.lexists(pattern) and not is_folder:
        return [_regular(Path(pattern), f"{pattern} is")]
    if is_glob and (files := _matches(pattern)):
        return [_regular(path, f"{pattern} finds {path}, which is") for path in files]
    folder = Path(pattern).parent
    origin = describe_missing(pattern)
    if is_folder:
        what = f"{pattern} is a folder; a file or a glob like '{pattern}/*.jsonl' is right"
    elif is_glob:
        what = f"no file matches {pattern} (seen from {Path.cwd()})"
    elif folder.is_dir():
        near = nearest(Path(pattern).name, sorted(path.name for path in folder.iterdir() if path.is_file()))
        what = f"there is no file {pattern}" + (f"; nearest in that folder is {near}" if near else "")
    else:
        what = f"there is no file {pattern}, nor its folder {folder} (seen from {Path.cwd()})"
    raise DataError(what + (f"; {origin}" if origin else ""))


def _regular(path: Path, begin: str) -> Path:
    """The path of a regular file, or an error that says what it is instead."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        why = error.strerror
        if error.errno == errno.ELOOP:
            what = "a link that leads in a circle; a regular file is needed"
        elif path.is_symlink():
            what = f"a link to {path.readlink()}, which cannot be reached ({why})"
        else:
            what = f"not to be reached ({why})"
        raise DataError(f"{begin} {what}") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{begin} {file_kind(mode)}; a regular file is needed")
    return path


def _matches(pattern: str) -> list[Path]:
    """What of a glob's matches is no folder, sorted."""
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    return sorted(_Walk(pattern).matches(Path(path.anchor), parts, frozenset()))


class _Walk:
    """The names that a glob leads through; it matches what Python's own `glob` matches.

    That one has no bound: `/proc/**` leads it through the whole system, and a link to a folder above forty times
    through the same files.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.looked, self.found = 0, set[Path]()

    def matches(self, folder: Path, rest: tuple[str, ...], above: frozenset[tuple[int, int]]) -> set[Path]:
        """What fits the rest of the pattern below a folder; `above` are the folders that `**` led through."""
        head, tail = rest[0], rest[1:]
        if head == "**" and tail:
            self.matches(folder, tail, frozenset())
        if not glob.has_magic(head):
            self._step(folder / head, tail, os.path.isdir(folder / head))  # noqa: PTH112
            return self.found
        here = _identity(folder)
        if head == "**" and here in above:
            return self.found
        for name, is_folder in self._entries(folder):
            if name.startswith(".") and not head.startswith("."):
                continue
            if head == "**" and is_folder:
                self.matches(folder / name, rest, above | {here})
            elif head == "**" and not tail:
                self.found.add(folder / name)
            elif head != "**" and fnmatch.fnmatchcase(name, head):
                self._step(folder / name, tail, is_folder)
        return self.found

    def _step(self, path: Path, tail: tuple[str, ...], is_folder: bool) -> None:
        if tail and is_folder:
            self.matches(path, tail, frozenset())
        elif not tail and not is_folder and os.path.lexists(path):
            self.found.add(path)

    def _entries(self, folder: Path) -> list[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder; none where it may not be listed."""
        try:
            with os.scandir(folder) as listed:
                entries = sorted((entry.name, _is_folder(entry)) for entry in listed)
        except OSError:
            return []
        self.looked += len(entries)
        if self.looked > MOST_NAMES + 100 * len(self.found):
            raise DataError(
                f"{self.pattern} leads through {self.looked:,} names and more, of which {len(self.found):,} fit; name "
                f"the folder more closely"
            )
        return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        facts = folder.stat()
    except OSError:
        return -1, -1
    return facts.st_dev, facts.st_ino
