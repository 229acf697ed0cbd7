"""A report and where it is written: `index.html`, `report.md` and `report.json`, the same numbers in each."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from alignment.errors import UsageError
from alignment.report.as_html import to_html
from alignment.report.as_json import SCHEMA, to_json
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import (
    Block,
    Code,
    Exchange,
    Facts,
    MaskedText,
    Opening,
    Paragraph,
    Report,
    Section,
    SideBySide,
    TurnByTurn,
)
from alignment.store.atomic import ASIDE, staged_folder, write_text

__all__ = [
    "Block",
    "Code",
    "Exchange",
    "Facts",
    "MaskedText",
    "Opening",
    "Paragraph",
    "Report",
    "Section",
    "SideBySide",
    "TurnByTurn",
    "to_html",
    "to_json",
    "to_markdown",
    "write_report",
]
_PAGE, _MARKDOWN, _JSON = "index.html", "report.md", "report.json"
# why a folder cannot be made beside another and take its place: a mount point, a parent of somebody else, no links
_NOT_BESIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.EMLINK, errno.ENOTSUP)


def write_report(report: Report, folder: Path) -> Path:
    """Write the three twins into a folder; a kill at any moment leaves the old report or the new one whole.

    All are made before the first is written.  The folder is made anew beside the old one, with links to
    everything else that lies in it, and takes its place in one step.  Where that cannot be (a folder of
    other things, the current folder, a mount point) the files are written one after the other, the
    page last; they share an id, so that a kill between two of them shows.

    Args:
        report: what to write.
        folder: made if it is not there; must not be a file or a symbolic link.

    Returns:
        The page, `folder/index.html`.

    Raises:
        UsageError: the folder cannot be written, or holds files of these names that are no report.
        DiskFull: no space left; what was there before is untouched.
    """
    folder = Path(folder)
    _check_place(folder)
    texts = {
        _JSON: json.dumps(to_json(report), indent=1, ensure_ascii=True, allow_nan=False) + "\n",
        _MARKDOWN: to_markdown(report),
        _PAGE: to_html(report),
    }
    try:
        if not (_can_be_replaced(folder) and _replace_folder(folder, texts)):
            _write_all(folder, texts)
    except PermissionError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; give a folder that is yours") from error
    return folder / _PAGE


def _write_all(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_text(folder / name, text)


def _can_be_replaced(folder: Path) -> bool:
    """Whether the folder is the report's own: new, empty, or one that holds a report already."""
    if not folder.exists():
        return True
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        return False  # whoever stands in it would stand in a folder that is gone
    names = {path.name for path in folder.iterdir() if not path.name.startswith(ASIDE)}
    return not names or _PAGE in names or _JSON in names


def _replace_folder(folder: Path, texts: Mapping[str, str]) -> bool:
    """Make the folder beside the old one and exchange them; False where that cannot be."""
    try:
        with staged_folder(folder, replace=True) as aside:
            _write_all(aside, texts)
            if folder.exists():
                _link_others(folder, aside, leave=texts.keys())
    except OSError as error:
        if error.errno not in _NOT_BESIDE and not isinstance(error, shutil.Error):  # of copytree: a link failed
            raise
        return False
    return True


def _link_others(folder: Path, aside: Path, *, leave: Iterable[str]) -> None:
    """Give what else lies in the folder a second name aside: nothing is copied, nothing can be lost."""
    for path in folder.iterdir():
        if path.name in leave or path.name.startswith(ASIDE):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, aside / path.name, symlinks=True, copy_function=_link)
        else:
            _link(path, aside / path.name)
    shutil.copymode(folder, aside)


def _link(path: str | Path, to: str | Path) -> None:
    os.link(path, to, follow_symlinks=False)


def _check_place(folder: Path) -> None:
    if folder.is_symlink():
        raise UsageError(f"{folder} is a symbolic link; a report is written into a real folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a report is written into a folder")
    for name, mark in ((_PAGE, '<meta name="generator" content="alignment-report">'), (_JSON, f'"{SCHEMA}"')):
        path = folder / name
        if path.is_symlink() or (path.exists() and not _has_mark(path, mark)):
            raise UsageError(f"{path} is there and no report of ours; it is left alone: give another folder")


def _has_mark(path: Path, mark: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.read(8192)
