"""Writes that are whole or absent: written aside in the same parent, flushed, renamed, parent flushed.

Everything that must survive a crash goes through here.  A reader never sees half a file or half
a folder; what was there before stays until the new one is complete.  No torch.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignment.errors import DiskFull

ASIDE = ".aside-"  # prefix of everything unfinished; `clear_leftovers` removes it


def aside_path(target: Path) -> Path:
    """A fresh name beside `target` (same parent, so that the rename cannot cross file systems)."""
    short = target.name.encode()[:80].decode(errors="ignore")  # a name holds at most 255 bytes
    return target.parent / f"{ASIDE}{short}-{uuid.uuid4().hex[:12]}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        DiskFull: no space left; the old file, if any, is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_path(path)
    with space_explained(path, len(data)):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically (lone surrogates are escaped, not an error)."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON values atomically: sorted keys, no NaN (a NaN is a ValueError)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def staged_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a folder aside and let it appear at `target` as a whole.

    Args:
        target: where the folder appears; must not exist unless `replace`.
        replace: put an existing folder out of the way first and remove it last.

    Raises:
        FileExistsError: `target` exists and `replace` is False.
        DiskFull: no space left; nothing appears and the partial folder is removed.
    """
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_path(target)
    old: Path | None = None
    with space_explained(target, None):
        try:
            aside.mkdir()
            yield aside
            for folder, _, files in os.walk(aside):
                for name in files:
                    _flush_file(Path(folder) / name)
                flush_folder(Path(folder))
            if target.exists():
                out_of_the_way = aside_path(target)
                target.rename(out_of_the_way)
                old = out_of_the_way
            aside.rename(target)
        except BaseException:
            if old is not None and not target.exists():
                old.rename(target)  # the new one did not appear: what was there before stands
            shutil.rmtree(aside, ignore_errors=True)
            raise
        flush_folder(target.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a crash midway leaves only leftovers, never a half folder under its name."""
    if not folder.exists():
        return
    aside = aside_path(folder)
    folder.rename(aside)
    flush_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(folder: Path) -> list[str]:
    """Remove what earlier crashes left aside below `folder`; call only while holding its lock.

    Returns:
        The names that were removed.
    """
    removed = []
    for path in sorted(folder.rglob(f"{ASIDE}*")):
        if not path.exists():
            continue  # went with its parent
        removed.append(str(path.relative_to(folder)))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return removed


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def space_explained(target: Path, needed: int | None) -> Iterator[None]:
    """Turn "no space left" into a sentence with both numbers; every other error passes unchanged.

    Args:
        target: what is being written.
        needed: its bytes, None where nobody knows yet.

    Raises:
        DiskFull: the block ran out of space or quota.
    """
    try:
        yield
    except Exception as error:
        if not _is_no_space(error):
            raise
        free = shutil.disk_usage(target.parent).free
        need = f"{needed:,} bytes are needed" if needed is not None else "more is needed"
        raise DiskFull(
            f"no space left to write {target}: {need}, {free:,} bytes are free; what was there before is "
            f"untouched; free some space and give the same command again"
        ) from error


def _is_no_space(error: Exception) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in codes
    # safetensors and tokenizers write in Rust and raise their own classes, the system's code only in their text
    return any(f"(os error {code})" in str(error) for code in codes)
