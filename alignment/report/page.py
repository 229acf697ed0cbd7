"""A report and where it is written: `index.html`, `report.md` and `report.json`, the same numbers in each."""

from __future__ import annotations

import json
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
    Paragraph,
    Report,
    Section,
    SideBySide,
)
from alignment.store.atomic import write_text

__all__ = [
    "Block",
    "Code",
    "Exchange",
    "Facts",
    "MaskedText",
    "Paragraph",
    "Report",
    "Section",
    "SideBySide",
    "to_html",
    "to_json",
    "to_markdown",
    "write_report",
]
_PAGE, _MARKDOWN, _JSON = "index.html", "report.md", "report.json"


def write_report(report: Report, folder: Path) -> Path:
    """Write the three twins into a folder, each whole or not at all.

    All are made before the first is written.  An earlier report is replaced; anything else of
    these names is left alone.  The twins share an id, so that a kill between two of them shows.

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
        for name, text in texts.items():
            write_text(folder / name, text)
    except PermissionError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; give a folder that is yours") from error
    return folder / _PAGE


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
