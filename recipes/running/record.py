"""Each stage's record, `stage.json`: what its result rests on, how it ended, what it made.  No torch."""

from __future__ import annotations

import calendar
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from alignment.errors import CheckpointError
from alignment.store import manifest
from alignment.store.atomic import write_json
from alignment.store.regular import read_regular
from recipes.masking import mask

STAGE = "stage.json"
_DIGEST = "sha256"  # the record's digest of itself
_SMALL = 1_000_000  # bytes that are hashed whenever a run is looked at
VERSION = 1
Status = Literal["running", "finished", "interrupted", "failed"]
_JOURNALS = ("metrics.jsonl",)
# what a stage leaves behind that is no result: records of what happened, what it resumes from
_NO_OUTPUT = {STAGE, "log.txt", "metrics.jsonl", "nonfinite.json"}
_NO_OUTPUT_FOLDERS = {"samples", "checkpoints"}  # journals of samples, training checkpoints
# accounts of what was read, for people and the page: no stage reads them, so a lost one fells nothing
_ACCOUNT = re.compile(r"data\.json|quarantine(-[a-z]+)?\.jsonl")
# nor work that would be lost: rows set aside
_NO_WORK = ("quarantine",)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What `stage.json` holds.

    Attributes:
        basis: what the result rests on (see `recipes.running.fingerprint`).
        seconds: wall time over all attempts that ended by themselves.
        result: what the stage's function returned.
        outputs: relative name -> digest: of a folder its manifest's, of a file its SHA-256.
        journals: the same of what is looked at and decides nothing (metrics); no part of the record's digest.
        error: why it failed, one sentence.
        lineage: of a stage that makes a model, all that it came from (see `recipes.running.lineage`).
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
    journals: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    lineage: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The outputs' identity, for the fingerprints of the stages that stand on it."""
        return hashlib.sha256(json.dumps(dict(self.outputs), sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> StageRecord | None:
    """A stage's record; None if the stage never began.

    Raises:
        CheckpointError: `stage.json` is damaged, was edited or is of another release.
    """
    path = folder / STAGE
    raw = read_json(path)
    if raw is None:
        return None
    digest = raw.pop(_DIGEST, None)  # release 0.1.0 wrote none
    if digest is not None and digest != _digest_of(raw):
        raise damaged(path, "it was edited: its digest is another")
    try:
        if raw.pop("version") != VERSION:
            raise CheckpointError(f"{path} is of another release of this suite; this one reads version {VERSION}")
        record = StageRecord(**raw)
        texts = [record.name, record.kind, record.status, record.fingerprint, record.started]
        if not all(isinstance(text, str) for text in texts) or record.status not in Status.__args__:  # type: ignore[attr-defined]
            raise TypeError("a value of the wrong type")
        if not all(
            isinstance(value, Mapping)
            for value in (record.basis, record.result, record.outputs, record.journals, record.lineage)
        ):
            raise TypeError("a value of the wrong type")
        for name in (*record.outputs, *record.journals):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise TypeError(f"the output {name!r} lies outside the stage's folder")
        return record
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(path, str(error)) from None


def stage_records(run: Path) -> list[StageRecord]:
    """The records of all stages that a run has begun, in the order of their folders.

    Raises:
        CheckpointError: one is damaged.
    """
    folders = sorted(path for path in run.iterdir() if path.name[:2].isdecimal() and (path / STAGE).is_file())
    return [record for folder in folders if (record := read_record(folder)) is not None]


def write_record(folder: Path, record: StageRecord) -> None:
    """Write a stage's record atomically."""
    values = {"version": VERSION, **asdict(record)}
    write_json(folder / STAGE, {**values, _DIGEST: _digest_of(values)})


def _digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of a record's values as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def outputs_of(folder: Path) -> dict[str, str]:
    """Digests of what a stage made: folders by their manifests, other files by content."""
    found: dict[str, str] = {}
    _collect(folder, folder, found)
    return found


def journals_of(folder: Path) -> dict[str, str]:
    """Digests of the journals that a finished stage leaves for whoever looks at it."""
    return {name: manifest.file_digest(folder / name) for name in _JOURNALS if (folder / name).is_file()}


def altered_journal(folder: Path, record: StageRecord) -> str | None:
    """The first journal that is gone or not what the stage left, as a sentence; None if all stand.

    No result rests on it, so the stage stands all the same.
    """
    for name, digest in record.journals.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            return f"{name} is missing; its curves are not shown"
        if manifest.file_digest(path) != digest:
            return f"{name} was altered after the stage ended; its curves are not what the stage left"
    return None


def altered_output(folder: Path, record: StageRecord, *, every: bool = False) -> str | None:
    """The first recorded output that is gone, replaced or altered, as a sentence; None if all stand.

    Small files are hashed always, large ones where their size or time says that they were written after the stage
    ended (an edit, or a copy of the run); what hashes like before stands.  An account of the data that is gone
    (`lost_accounts`) is nothing that a result rests on.

    Args:
        every: hash every file, whatever its size and time, and miss every file.
    """
    for name, digest in record.outputs.items():
        path = folder / name
        if path.is_symlink():
            return f"{name} is a symbolic link; a run holds its files itself"
        if path.is_dir():
            try:
                whole = manifest.read_manifest(path)
            except CheckpointError as error:
                return str(error)
            if whole.digest != digest:
                return f"{name} was replaced by another"
            files = {f"{name}/{file}": facts for file, facts in whole.files.items()}
        elif path.is_file():
            files = {name: (path.stat().st_size, digest)}  # its digest alone was kept
        elif _ACCOUNT.fullmatch(name) and not every:
            continue
        else:
            return f"{name} is missing"
        for file, (size, expected) in files.items():
            if (said := _altered(folder / file, size, expected, record.ended, every)) is not None:
                return f"{file} {said}"
    return None


def lost_accounts(folder: Path, record: StageRecord) -> list[str]:
    """The accounts of its data (`data.json`, rows set aside) that a stage left and that are gone."""
    return [name for name in record.outputs if _ACCOUNT.fullmatch(name) and not (folder / name).exists()]


def _altered(path: Path, size: int, digest: str, ended: str | None, every: bool) -> str | None:
    if not path.is_file():
        return "is missing"
    facts = path.stat()
    if facts.st_size != size:
        return f"has {facts.st_size:,} bytes, the stage left {size:,}"
    if not every and size > _SMALL and ended is not None:
        left = calendar.timegm(time.strptime(ended, "%Y-%m-%dT%H:%M:%SZ"))
        if facts.st_mtime <= left + 1:  # the record's time is whole seconds
            return None
    return None if manifest.file_digest(path) == digest else "was altered: its content has another digest"


def holds_work(folder: Path) -> bool:
    """Whether an unfinished stage made anything that starting anew would lose."""
    return any(
        path.is_file() and path.name not in _NO_OUTPUT and not path.name.startswith(_NO_WORK)
        for path in folder.rglob("*")
    )


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


def read_json(path: Path) -> dict[str, Any] | None:
    """An object from a file of the run; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        raw = json.loads(read_regular(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(path, error.strerror or type(error).__name__) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, type(error).__name__) from None
    if not isinstance(raw, dict):
        raise damaged(path, "not an object")
    return raw


def damaged(path: Path, why: str) -> CheckpointError:
    """The error of a damaged file: what to do about it."""
    return CheckpointError(
        f"{mask(str(path))} is damaged ({why}); restore it, or move its folder out of the run to do it again"
    )
