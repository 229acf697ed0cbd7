"""The files that settings name, and their digests.  No torch.

A file's digest is computed once a process for the same size and modification time, so that a touched
file is read again and found equal, and an edited one of the same size is found different.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.data.settings import SourceSettings
from alignment.errors import CheckpointError, DataError
from alignment.settings import NamesFile, Settings
from alignment.store.manifest import file_digest
from recipes.masking import mask

_CONFIGS = ("config.json", "adapter_config.json")  # what makes a folder a checkpoint's
_IN_FOLDER = (".json", ".safetensors", ".model", ".pth", ".yaml", ".txt", ".jinja")


def named_paths(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every (dotted key, path) at or below a value of the settings that names a local file, glob or folder.

    A field says so itself (`setting(…, file=…)`); `model.path` alone, without its section, is the tokenizer's.
    """
    if key == "model.path":
        if value is not None and Path(value).exists():
            yield key, value
    elif isinstance(value, Settings):
        for name, info in type(value).model_fields.items():
            item, mark = getattr(value, name), next((m for m in info.metadata if isinstance(m, NamesFile)), None)
            if mark is None:
                yield from named_paths(item, f"{key}.{name}")
            elif item is not None and mark.names(item):
                yield f"{key}.{name}", item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from named_paths(item, f"{key}.{index}")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_paths(item, f"{key}.{name}")


def files_of(path: str, key: str) -> list[Path]:
    """The files of a path: itself, a glob's matches, or a checkpoint folder's files, sorted.

    Raises:
        DataError: there is none; names key and path, and what is near.
    """
    from alignment.data.rows.find import find_files

    try:
        if "\0" in path:
            raise DataError(f"{path!r} holds a zero byte; no file is named so")
        folder = Path(path)
        if folder.is_dir() and (key == "model.path" or any((folder / name).is_file() for name in _CONFIGS)):
            return [file for each in _with_base(folder) for file in sorted(each.iterdir()) if _counts(file)]
        return find_files(SourceSettings(path=path))
    except DataError as error:
        raise DataError(f"{key}: {mask(str(error))}") from None
    except OSError as error:
        raise DataError(f"{key}: {mask(path)} cannot be read ({error.strerror})") from None


def _counts(file: Path) -> bool:
    return file.is_file() and file.suffix in _IN_FOLDER


def _with_base(folder: Path) -> list[Path]:
    """A checkpoint's folder, and where it is an adapter's those that it stands on, if they are here."""
    from alignment.policy.adapter import bases_here

    try:
        return [folder, *bases_here(folder)]
    except CheckpointError:
        return [folder]  # the stage that loads it says what is wrong


class Digests:
    """SHA-256 of files, remembered for as long as size and modification time stay."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def of(self, file: Path) -> str:
        """A file's digest in hex.

        Raises:
            DataError: it cannot be read.
        """
        try:
            facts = file.stat()
            entry = (str(file.resolve()), facts.st_size, facts.st_mtime_ns)
            if entry not in self._known:
                self._known[entry] = file_digest(file)
        except OSError as error:
            raise DataError(f"{mask(str(file))} cannot be read ({error.strerror})") from None
        return self._known[entry]


def digests_of(paths: Mapping[str, str], digests: Digests) -> dict[str, str]:
    """Digests by dotted key; a glob's or folder's files are `key/name`.

    Raises:
        DataError: a path has no file, or one cannot be read.
    """
    result = {}
    for key, path in sorted(paths.items()):
        files = files_of(path, key)
        if len(files) == 1 and str(files[0]) == str(Path(path)):
            result[key] = digests.of(files[0])
            continue
        for file in files:
            result[f"{key}/{file.name}"] = _combined(result.get(f"{key}/{file.name}"), digests.of(file))
    return result


def _combined(earlier: str | None, digest: str) -> str:
    """Files of one name in several folders of a glob stand under one key."""
    return digest if earlier is None else f"{earlier}+{digest}"
