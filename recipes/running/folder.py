"""A run's folder: its layout, what may be used as one, and what moves in it.  No torch.

run.json                 marks the folder as a run; version of the layout
recipe.yaml              what was asked, resolved; `${NAME}` stays `${NAME}`
log.txt                  tracebacks of what went wrong
03-sft/stage.json        basis and fingerprint, status, times, result, outputs
.replaced/TIME/03-sft    what `--redo` put aside
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path

from alignment.errors import UsageError
from alignment.store.atomic import ASIDE, flush_folder, write_json
from alignment.store.lock import NAME as LOCK
from recipes.masking import mask, safe
from recipes.running.record import VERSION, read_json

MARKER, RECIPE, LOG = "run.json", "recipe.yaml", "log.txt"
REPLACED = ".replaced"
_STAGE_FOLDER = re.compile(r"\d{2,}-[A-Za-z0-9][A-Za-z0-9._-]*")


def check_run_folder(folder: Path) -> bool:
    """See whether a folder can be a run; touches nothing.

    Returns:
        Whether it is one already.

    Raises:
        UsageError: it is a file, a link, another kind of folder, a run of another release, or holds a link where the
            run writes.
    """
    shown = mask(str(folder))
    try:
        if folder.is_symlink():
            raise UsageError(f"{shown} is a symbolic link; name the folder that it leads to, or another one")
        if not folder.exists():
            return False
        if not folder.is_dir():
            raise UsageError(f"{shown} is a file; a run needs a folder of its own")
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise UsageError(f"{shown} cannot be used as a run's folder: {error.strerror}") from None
    if MARKER not in names:
        foreign = sorted(name for name in names if name != LOCK and not name.startswith(ASIDE))
        if foreign:
            raise UsageError(
                f"{shown} is no run: it holds {mask(foreign[0])!r} and no {MARKER}; name an empty or a new folder"
            )
        return False
    for path in (folder / name for name in (MARKER, RECIPE, LOG, REPLACED)):
        if path.is_symlink():
            raise _linked(path)
    _check_marker(folder / MARKER)
    return True


def require_run(folder: Path) -> None:
    """Refuse what is no run; for reading.

    Raises:
        UsageError: there is no run at that place.
    """
    if not check_run_folder(folder):
        raise UsageError(f"{mask(str(folder))} holds no run; `align run RECIPE --out {mask(str(folder))}` makes one")


def make_run_folder(folder: Path) -> None:
    """Make the folder (and its parents); the lock is taken next, the marker written then.

    Raises:
        UsageError: the place cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission to write")
    except OSError as error:
        raise UsageError(
            f"{mask(str(folder))} cannot be made: {error.strerror}; choose another place with --out"
        ) from None


def mark_run(folder: Path, name: str) -> None:
    """Mark a folder as a run, once."""
    if not (folder / MARKER).exists():
        write_json(folder / MARKER, {"version": VERSION, "name": name, "made": now()})


def stage_folders(folder: Path) -> list[Path]:
    """The stage folders that stand in a run, in order.

    Raises:
        UsageError: one is a symbolic link, or holds one: what it leads to is not the run's to write or to remove.
    """
    found = sorted(path for path in folder.iterdir() if _STAGE_FOLDER.fullmatch(path.name))
    for path in found:
        if path.is_symlink():
            raise _linked(path)
        for inner in path.rglob("*"):
            if inner.is_symlink():
                raise _linked(inner)
    return [path for path in found if path.is_dir()]


def _linked(path: Path) -> UsageError:
    return UsageError(
        f"{mask(str(path))} is a symbolic link; a run holds its files itself: put what it leads to in its place, or "
        f"the whole run there and name that with --out"
    )


def put_aside(run: Path, folders: list[Path]) -> Path | None:
    """Move stage folders into `.replaced/TIME/`; nothing is deleted.

    Returns:
        Where they are now; None if there were none.
    """
    if not folders:
        return None
    base = run / REPLACED / time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    target, count = base, 1
    while target.exists():
        count += 1
        target = base.with_name(f"{base.name}-{count}")
    target.mkdir(parents=True)
    for folder in reversed(folders):  # children first: a crash between leaves parents without children, not orphans
        folder.rename(target / folder.name)
    flush_folder(target)
    flush_folder(run)
    return target


def is_locked(folder: Path) -> bool:
    """Whether a process works on the run now."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def append_log(run: Path, text: str) -> Path:
    """Append to the run's log: no secret, no home folder's name, nothing that steers the terminal it is shown on."""
    path = run / LOG
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"--- {now()} process {os.getpid()}\n{safe(text).rstrip()}\n")
    return path


def now() -> str:
    """UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _check_marker(path: Path) -> None:
    raw = read_json(path) or {}
    if raw.get("version") != VERSION:
        version = raw.get("version")
        right = f"this release reads version {VERSION}; use the release that made it"
        raise UsageError(f"{mask(str(path))} is of version {version!r}; {right}")
