"""Writes that are whole or absent: written aside in the same parent, flushed, renamed, parent flushed.

Everything that must survive a crash goes through here.  A reader never sees half a file or half
a folder; what was there before stays until the new one is complete.  No torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from alignment.errors import DiskFull
from alignment.store.exchange import exchange

ASIDE = ".aside-"  # prefix of everything unfinished; `clear_leftovers` removes it
KEPT = ".kept-"  # prefix of a folder that stands back while another takes its name; put back after a crash
# the names that are given here and nobody else gives: `.aside-NAME-` and a random number, `.kept-NAME-` and a check
_ASIDE_NAME = re.compile(r"\.aside-.*-[0-9a-f]{12}", re.DOTALL)
_KEPT_NAME = re.compile(r"\.kept-(.+)-([0-9a-f]{12})", re.DOTALL)


def aside_path(target: Path) -> Path:
    """A fresh name beside `target` (same parent, so that the rename cannot cross file systems)."""
    short = target.name.encode()[:80].decode(errors="ignore")  # a name holds at most 255 bytes
    return target.parent / f"{ASIDE}{short}-{uuid.uuid4().hex[:12]}"


@contextmanager
def whole_file(path: Path, needed: int | None = None) -> Iterator[BinaryIO]:
    """Fill a file aside and let it appear at `path` as a whole, in the place of an earlier one.

    Args:
        needed: its bytes for the message, None where nobody knows yet.

    Raises:
        DiskFull: no space left; the old file, if any, is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_path(path)
    with space_explained(path, needed):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        DiskFull: no space left; the old file, if any, is untouched.
    """
    with whole_file(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically (lone surrogates are escaped, not an error)."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON values atomically: sorted keys, no NaN (a NaN is a ValueError)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def staged_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a folder aside and let it appear at `target` as a whole.

    An existing folder and the new one exchange their names in one step.  Where the system cannot do that,
    the old one stands back as `.kept-NAME-CHECK` for a moment; if a crash comes just then, the next writer and
    `clear_leftovers` put it back.

    Args:
        target: where the folder appears; must not exist unless `replace`.
        replace: take the place of an existing folder, which is removed last.

    Raises:
        FileExistsError: `target` exists and `replace` is False.
        DiskFull: no space left; nothing appears and the partial folder is removed.
    """
    _put_back(target)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = old = aside_path(target)
    with space_explained(target, None):
        try:
            aside.mkdir()
            yield aside
            for folder, _, files in os.walk(aside):
                for name in files:
                    _flush_file(Path(folder) / name)
                flush_folder(Path(folder))
            if not target.exists():
                aside.rename(target)
            elif not exchange(aside, target):
                old = kept_path(target)
                shutil.rmtree(old, ignore_errors=True)  # the target is whole, so this one is of no use
                target.rename(old)
                aside.rename(target)
        except BaseException:
            if old is not aside and not target.exists() and old.exists():
                old.rename(target)  # the new one did not appear: what was there before stands
            shutil.rmtree(aside, ignore_errors=True)
            raise
        flush_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)  # under one of two names: what was there before, if anything was


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a crash midway leaves only leftovers, never a half folder under its name."""
    if not folder.exists():
        return
    aside = aside_path(folder)
    folder.rename(aside)
    try:
        flush_folder(folder.parent)
    finally:  # on a full disk above all, what was to go must go
        shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(folder: Path) -> list[str]:
    """Remove what earlier crashes left aside below `folder`; call only while holding its lock.

    Only names that are made here are taken for leftovers: a user's own `.aside-mine` and `.kept-notes` stay.
    A folder that stood back while another was to take its name is put back if the other never came.

    Returns:
        The names that were removed.
    """
    removed = []
    for path in sorted(folder.rglob(f"{KEPT}*")):
        target = _kept_target(path)
        if target is None:
            continue
        if not target.exists():
            path.rename(target)
        else:
            removed.append(str(path.relative_to(folder)))
            shutil.rmtree(path, ignore_errors=True)
    for path in sorted(folder.rglob(f"{ASIDE}*")):
        if not _ASIDE_NAME.fullmatch(path.name) or not os.path.lexists(path):
            continue  # somebody's own, or gone with its parent
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


def kept_path(target: Path) -> Path:
    """Where a folder stands back: named after it, so that it can be put back after a crash."""
    kept = target.with_name(f"{KEPT}{target.name}-{_check(target.name)}")
    return kept if len(os.fsencode(kept.name)) <= 255 else aside_path(target)


def _kept_target(path: Path) -> Path | None:
    """Whose place a folder that stands back keeps; None for a name that was not made here."""
    found = _KEPT_NAME.fullmatch(path.name)
    return path.with_name(found.group(1)) if found and found.group(2) == _check(found.group(1)) else None


def _check(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _put_back(target: Path) -> None:
    """Undo the first half of a replacement whose second half never came."""
    kept = kept_path(target)
    if kept.exists() and not target.exists():
        kept.rename(target)


def _flush_file(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        return  # a link's target is not ours to flush, and opening a pipe would wait for its other end
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
