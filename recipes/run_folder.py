"""A run's folder: its layout, what may be used as one, and each stage's record.  No torch.

run.json                 marks the folder as a run; version of the layout
recipe.yaml              what was asked, resolved; `${NAME}` stays `${NAME}`
log.txt                  tracebacks of what went wrong
03-sft/stage.json        basis and fingerprint, status, times, result, outputs
.replaced/TIME/03-sft    what `--redo` put aside
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from alignment.errors import CheckpointError, UsageError
from alignment.store import manifest
from alignment.store.atomic import ASIDE, flush_folder, write_json
from alignment.store.lock import NAME as LOCK
from recipes.masking import mask, safe

MARKER, RECIPE, LOG, STAGE = "run.json", "recipe.yaml", "log.txt", "stage.json"
REPLACED = ".replaced"
VERSION = 1
Status = Literal["running", "finished", "interrupted", "failed"]
_STAGE_FOLDER = re.compile(r"\d{2,}-[A-Za-z0-9][A-Za-z0-9._-]*")
# what a stage leaves behind that is no result: records of what happened, what it resumes from
_NO_OUTPUT = {STAGE, LOG, "metrics.jsonl", "nonfinite.json"}
_NO_OUTPUT_FOLDERS = {"samples", "checkpoints"}  # journals of samples, training checkpoints
# nor work that would be lost: rows set aside
_NO_WORK = ("quarantine",)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What `stage.json` holds.

    Attributes:
        basis: what the result rests on (see `recipes.plan`).
        seconds: wall time over all attempts that ended by themselves.
        result: what the stage's function returned.
        outputs: relative name -> digest: of a folder its manifest's, of a file its SHA-256.
        error: why it failed, one sentence.
    """

    name: str
    kind: str
    status: Status
    fingerprint: str
    basis: Mapping[str, Any]
    started: str
    ended: str | None = None
    seconds: float = 0.0
    attempts: int = 1
    result: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def digest(self) -> str:
        """The outputs' identity, for the fingerprints of the stages that stand on it."""
        return hashlib.sha256(json.dumps(dict(self.outputs), sort_keys=True).encode()).hexdigest()


def check_run_folder(folder: Path) -> bool:
    """See whether a folder can be a run; touches nothing.

    Returns:
        Whether it is one already.

    Raises:
        UsageError: it is a file, a link, another kind of folder, or a run of another release.
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
        UsageError: one is a symbolic link.
    """
    found = sorted(path for path in folder.iterdir() if _STAGE_FOLDER.fullmatch(path.name))
    for path in found:
        if path.is_symlink():
            raise UsageError(f"{mask(str(path))} is a symbolic link; a run holds its stages itself")
    return [path for path in found if path.is_dir()]


def read_record(folder: Path) -> StageRecord | None:
    """A stage's record; None if the stage never began.

    Raises:
        CheckpointError: `stage.json` is damaged or of another release.
    """
    path = folder / STAGE
    raw = _read_json(path)
    if raw is None:
        return None
    try:
        if raw.pop("version") != VERSION:
            raise CheckpointError(f"{path} is of another release of this suite; this one reads version {VERSION}")
        record = StageRecord(**raw)
        texts = [record.name, record.kind, record.status, record.fingerprint, record.started]
        if not all(isinstance(text, str) for text in texts) or record.status not in Status.__args__:  # type: ignore[attr-defined]
            raise TypeError("a value of the wrong type")
        if not all(isinstance(value, Mapping) for value in (record.basis, record.result, record.outputs)):
            raise TypeError("a value of the wrong type")
        for name in record.outputs:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise TypeError(f"the output {name!r} lies outside the stage's folder")
        return record
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)) from None


def write_record(folder: Path, record: StageRecord) -> None:
    """Write a stage's record atomically."""
    write_json(folder / STAGE, {"version": VERSION, **asdict(record)})


def outputs_of(folder: Path) -> dict[str, str]:
    """Digests of what a stage made: folders by their manifests, other files by content."""
    found: dict[str, str] = {}
    _collect(folder, folder, found)
    return found


def missing_output(folder: Path, record: StageRecord) -> str | None:
    """The first recorded output that is gone or has another manifest; contents are checked where they are read."""
    for name, digest in record.outputs.items():
        path = folder / name
        if path.is_symlink():
            return f"{name} is a symbolic link; a run holds its files itself"
        if path.is_dir():
            try:
                if manifest.read_manifest(path).digest != digest:
                    return f"{name} was replaced by another"
            except CheckpointError as error:
                return str(error)
        elif not path.is_file():
            return f"{name} is missing"
    return None


def holds_work(folder: Path) -> bool:
    """Whether an unfinished stage made anything that starting anew would lose."""
    return any(
        path.is_file() and path.name not in _NO_OUTPUT and not path.name.startswith(_NO_WORK)
        for path in folder.rglob("*")
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
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"--- {now()} process {os.getpid()}\n{safe(text).rstrip()}\n")
    return path


def now() -> str:
    """UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _collect(folder: Path, root: Path, found: dict[str, str]) -> None:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.is_dir() and not path.is_symlink():
            if path.name in _NO_OUTPUT_FOLDERS:
                continue
            if (path / manifest.NAME).exists():
                found[name] = manifest.read_manifest(path).digest
            else:
                _collect(path, root, found)
        elif path.is_file() and path.name not in _NO_OUTPUT:
            found[name] = manifest.file_digest(path)


def _check_marker(path: Path) -> None:
    raw = _read_json(path) or {}
    if raw.get("version") != VERSION:
        version = raw.get("version")
        right = f"this release reads version {VERSION}; use the release that made it"
        raise UsageError(f"{mask(str(path))} is of version {version!r}; {right}")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, type(error).__name__) from None
    if not isinstance(raw, dict):
        raise _damaged(path, "not an object")
    return raw


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{mask(str(path))} is damaged ({why}); restore it, or move its folder out of the run to do it again"
    )
