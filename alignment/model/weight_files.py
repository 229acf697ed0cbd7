"""A checkpoint folder's files, looked at before a weight is read: plain files of its own, whole, of floating numbers.

safetensors begin with a header (JSON) of each tensor's dtype, shape and place; all that is checked here stands in it.
"""

from __future__ import annotations

import json
import math
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.errors import CheckpointError
from alignment.store.manifest import is_inside

_INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 25_000_000  # bytes, some 200,000 tensors; Llama 2 70B has 723
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes a number of the dtypes that weights may have


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One tensor of a file's header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path


def require_plain_files(folder: Path) -> None:
    """Refuse pipes, sockets and devices: reading one would wait for ever, or never end.

    Raises:
        CheckpointError: naming the file.
    """
    for path in sorted(folder.iterdir()):
        if path.exists() and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
            raise CheckpointError(f"{path} is a pipe, a socket or a device; a checkpoint's folder holds plain files")


def check_weight_files(folder: Path) -> None:
    """Refuse weight files that lead outside the folder (transformers follows them).

    Raises:
        CheckpointError: naming the file, or the entry of the weight index.
    """
    for file in sorted(folder.glob("*.safetensors")):
        if not is_inside(folder, file):
            raise CheckpointError(f"{file} is a link that leads outside the checkpoint's folder; it is not followed")
    index = folder / _INDEX
    if not index.exists():
        return
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{index} is no weight index ({type(error).__name__}); the checkpoint is damaged"
        ) from None
    for name in names:
        if not (isinstance(name, str) and Path(name).name == name and is_inside(folder, folder / name)):
            raise CheckpointError(f"{index} names {name!r}, which lies outside the checkpoint's folder")
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name} is missing; {_INDEX} names it")


def stored_tensors(folder: Path) -> list[Stored]:
    """All tensors of a folder's safetensors files, from their headers alone.

    Raises:
        CheckpointError: there is no file, one is cut or damaged, or a tensor's numbers are no floating ones.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors file; pickled weights are not read")
    return [tensor for file in files for tensor in _header(file)]


def _header(file: Path) -> Iterator[Stored]:
    try:
        with file.open("rb") as handle:
            (size,) = struct.unpack("<Q", handle.read(8))
            if size > min(file.stat().st_size, _LARGEST_HEADER):
                raise ValueError(f"{size:,} bytes of header in {file.stat().st_size:,} bytes")
            header: dict[str, Any] = json.loads(handle.read(size))
        found = []
        for name, entry in header.items():
            if name != "__metadata__":
                shape, (begin, end) = tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
                found.append((begin, end, Stored(name=name, dtype=str(entry["dtype"]), shape=shape, file=file)))
        found.sort(key=lambda entry: entry[:2])
        at = 0
        for begin, end, tensor in found:
            if begin != at:
                raise ValueError(
                    f"{tensor.name} begins at byte {begin:,} of the data, the tensor before ends at {at:,}"
                )
            at = end
        if 8 + size + at != file.stat().st_size:
            raise ValueError(f"{file.stat().st_size:,} bytes, its header says {8 + size + at:,}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise CheckpointError(f"{file} is no whole safetensors file ({error}); it is truncated or damaged") from None
    for begin, end, tensor in found:
        if tensor.dtype not in _WIDTHS:
            raise CheckpointError(
                f"{file}: {tensor.name} holds {tensor.dtype} numbers; weights are F32, F16, BF16 or F64, and quantised "
                f"ones are not read"
            )
        if end - begin != math.prod(tensor.shape) * _WIDTHS[tensor.dtype]:
            raise CheckpointError(
                f"{file}: {tensor.name} {tensor.shape} of {tensor.dtype} stands on {end - begin:,} bytes; it is damaged"
            )
        yield tensor
