"""`align init` and `align recipes --copy`: write a recipe of one's own from a shipped one.  No torch."""

from __future__ import annotations

import re
from pathlib import Path

from alignment.data.rows.find import find_files
from alignment.data.settings import SourceSettings
from alignment.errors import UsageError
from alignment.store.atomic import write_text
from recipes.load import find_recipe, shipped_recipes
from recipes.masking import safe
from recipes.reading.begun import begun_recipe, renamed


def init_recipe(file: Path, *, origin: str, data: str | None) -> None:
    """Write a commented recipe, on one's own chats where a file is given.

    Raises:
        UsageError: there is no such shipped recipe, or the file is there already.
        DataError: the chats are not there.
    """
    text = _shipped(origin)
    _require_new(file)
    if data is not None:
        find_files(SourceSettings(path=data))
    write_text(file, begun_recipe(text, origin=origin, name=_name(file), file=str(file), data=data))
    print(safe(f"written: {file}; next: align check {file}"))


def copy_recipe(name: str, destination: Path | None) -> None:
    """Write a shipped recipe as it is, under the new file's name.

    Raises:
        UsageError: there is no such shipped recipe, or the file is there already.
    """
    text = _shipped(name)
    file = destination or Path(f"{name}.yaml")
    if file.is_dir():
        file = file / f"{name}.yaml"
    _require_new(file)
    write_text(file, renamed(text, _name(file)))
    print(safe(f"written: {file}; next: align check {file}"))


def _shipped(name: str) -> str:
    if name not in shipped_recipes():
        find_recipe(name)  # names the nearest; a file of one's own is copied by other means
        raise UsageError(f"{name[:200]} is no shipped recipe; there are {', '.join(shipped_recipes())}")
    return shipped_recipes()[name].read_text(encoding="utf-8")


def _require_new(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise UsageError(f"{file} is there already, and is left as it is; name another file")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent} to write {file.name} into")
    if file.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{file} would be a recipe; its name must end in .yaml")


def _name(file: Path) -> str:
    """A run's name from a file's."""
    return re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "-", file.stem)[:100].strip("-") or "run"
