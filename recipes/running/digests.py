"""The files that settings name, and their digests.  No torch.

A file's digest is computed once a process for the same size and modification time, so that a touched
file is read again and found equal, and an edited one of the same size is found different.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.model.settings import ModelSettings
from alignment.settings import Settings
from alignment.store.manifest import file_digest
from alignment.text.settings import TokenizerSettings
from gatt.settings import GattSettings
from recipes.masking import mask

_IN_FOLDER = (".json", ".safetensors", ".model", ".pth", ".yaml", ".txt", ".jinja")


def named_paths(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every (dotted key, path) below a settings value that names a local file, glob or folder."""
    if isinstance(value, SourceSettings):
        if value.path is not None:
            yield f"{key}.path", value.path
    elif isinstance(value, ModelSettings):
        if value.path is not None and (Path(value.path).exists() or not looks_like_hub(value.path)):
            yield f"{key}.path", value.path
    elif isinstance(value, Settings):
        if isinstance(value, TokenizerSettings) and value.path is not None:
            yield f"{key}.path", value.path
        if isinstance(value, GattSettings) and value.constraints.endswith((".yaml", ".yml")):
            yield f"{key}.constraints", value.constraints
        for name in type(value).model_fields:
            yield from named_paths(getattr(value, name), f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from named_paths(item, f"{key}.{index}")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_paths(item, f"{key}.{name}")


def looks_like_hub(path: str) -> bool:
    """Whether a model path reads as a hub name, `owner/name`."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~"))


def files_of(path: str, key: str) -> list[Path]:
    """The files of a path: itself, a glob's matches, or (`model.path`) a checkpoint folder's files, sorted.

    Raises:
        DataError: there is none; names key and path, and what is near.
    """
    from alignment.data.sources import find_files

    try:
        if "\0" in path:
            raise DataError(f"{path!r} holds a zero byte; no file is named so")
        folder = Path(path)
        if key == "model.path" and folder.is_dir():
            return [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix in _IN_FOLDER]
        return find_files(SourceSettings(path=path))
    except DataError as error:
        raise DataError(f"{key}: {mask(str(error))}") from None
    except OSError as error:
        raise DataError(f"{key}: {mask(path)} cannot be read ({error.strerror})") from None


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
            result[f"{key}/{mask(file.name)}"] = _combined(result.get(f"{key}/{mask(file.name)}"), digests.of(file))
    return result


def _combined(earlier: str | None, digest: str) -> str:
    """Files of one name in several folders of a glob stand under one key."""
    return digest if earlier is None else f"{earlier}+{digest}"
