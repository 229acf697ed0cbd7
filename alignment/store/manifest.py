"""A folder's manifest: name, size and SHA-256 of every file, written last, verified before use.  No torch.

safetensors detects truncation but no flipped bit; the manifest detects both, and missing, extra and
swapped files, and (by its own digest) an edited manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from alignment.errors import CheckpointError
from alignment.store.atomic import write_json
from alignment.store.regular import open_regular, read_regular

NAME = "manifest.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder holds.

    Attributes:
        kind: what the folder is ("checkpoint", "tokenizer", …).
        files: relative posix name -> (size in bytes, SHA-256 in hex).
        meta: plain JSON values of the writer (step, fingerprint, tokenizer digest, …).
        digest: SHA-256 over all of the above: the folder's identity.
    """

    kind: str
    files: Mapping[str, tuple[int, str]]
    meta: Mapping[str, Any]
    digest: str


def file_digest(path: Path) -> str:
    """SHA-256 of a regular file's bytes, in hex.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, *, kind: str, meta: Mapping[str, Any]) -> Manifest:
    """Hash every file below `folder` and write its manifest; the last write of a folder."""
    files = {name: (path.stat().st_size, file_digest(path)) for name, path in _files_below(folder)}
    manifest = Manifest(kind=kind, files=files, meta=dict(meta), digest=_digest(kind, files, meta))
    write_json(folder / NAME, _as_json(manifest))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest and check its own digest (not the files).

    Raises:
        CheckpointError: there is none, it is torn, or it was edited.
    """
    path = folder / NAME
    try:
        text = read_regular(path).decode("utf-8")
        if not text.endswith("\n"):
            raise ValueError("its last line is cut")
        raw = json.loads(text)
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no {NAME}: it is incomplete or no folder of this suite") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error}); it is damaged") from None
    try:
        version = raw["version"]
        if version != VERSION:
            raise CheckpointError(f"{path} has version {version!r}; this release reads version {VERSION}")
        files = {str(name): (int(size), str(sha)) for name, (size, sha) in raw["files"].items()}
        manifest = Manifest(kind=str(raw["kind"]), files=files, meta=dict(raw["meta"]), digest=str(raw["digest"]))
        digest = _digest(manifest.kind, manifest.files, manifest.meta)  # a NaN in it is a ValueError
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path} lacks what a manifest holds ({error!r}); it is damaged") from None
    if digest != manifest.digest:
        raise CheckpointError(f"{path} does not match its own digest: it was edited or damaged")
    for name in files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise CheckpointError(f"{path} names {name!r}, which lies outside its folder")
    return manifest


def verify(folder: Path, *, kind: str | None = None, expect: Mapping[str, Any] | None = None) -> Manifest:
    """Check every file of a folder against its manifest.

    Args:
        folder: the folder to check.
        kind: the kind it must be of.
        expect: values that its `meta` must hold.

    Raises:
        CheckpointError: names the first file that is missing, extra, of another size or content,
            or the meta value that differs.
    """
    manifest = read_manifest(folder)
    if kind is not None and manifest.kind != kind:
        raise CheckpointError(f"{folder} holds a {manifest.kind}, not a {kind}")
    for key, value in (expect or {}).items():
        if manifest.meta.get(key) != value:
            raise CheckpointError(
                f"{folder} belongs to something else: its {key} is {manifest.meta.get(key)!r}, expected {value!r}"
            )
    present = dict(_files_below(folder))
    for name, (size, sha) in manifest.files.items():
        path = present.pop(name, None)
        if path is None:
            raise CheckpointError(f"{folder / name} is missing; the manifest says {size:,} bytes")
        actual = path.stat().st_size
        if actual != size:
            raise CheckpointError(
                f"{path} has {actual:,} bytes, the manifest says {size:,} bytes: it is truncated or altered"
            )
        if file_digest(path) != sha:
            raise CheckpointError(f"{path} ({size:,} bytes) does not match its SHA-256: its content was altered")
    if present:
        raise CheckpointError(f"{folder} holds {sorted(present)[0]!r}, which its manifest does not name")
    return manifest


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a file of the folder is really there; the hub's cache links its snapshots to its own `blobs`."""
    home = folder.resolve()
    if home.parent.name == "snapshots" and path.resolve().parent == home.parent.parent / "blobs":
        return True
    return not path.is_symlink() and path.resolve().is_relative_to(home)


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not is_inside(folder, path):
            raise CheckpointError(f"{path} is a symbolic link; a folder of this suite holds plain files only")
        if path.is_file() and name != NAME:
            found.append((name, path))
    return found


def _digest(kind: str, files: Mapping[str, tuple[int, str]], meta: Mapping[str, Any]) -> str:
    body = {"kind": kind, "files": {k: list(v) for k, v in files.items()}, "meta": dict(meta), "version": VERSION}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": VERSION,
        "kind": manifest.kind,
        "files": {name: list(entry) for name, entry in manifest.files.items()},
        "meta": dict(manifest.meta),
        "digest": manifest.digest,
    }
