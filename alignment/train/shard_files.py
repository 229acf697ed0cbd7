"""A part of a checkpoint in shards: a folder of plain safetensors files, one a process, by torch's own means.

Each file says in its header where its pieces stand in the whole tensors, so any number of processes reads what any
other number wrote; a part that one process wrote whole (one file, no header) is read by the same functions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from alignment.train.shapes import require_same_shapes, shapes_of

SUFFIX = ".safetensors"


def write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write every process' own pieces into the folder; all processes call it with the same names."""
    # here and below: a second, which most trainings need not spend
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    with _own_errors():
        save(dict(tensors), storage_writer=writer)


class StoredPart:
    """A part as it lies in a checkpoint's folder: `NAME.safetensors`, or shards in the folder `NAME`, or nothing.

    Args:
        checkpoint: its folder, verified.
        name: of the part.
    """

    def __init__(self, checkpoint: Path, name: str) -> None:
        self.file, self.folder = checkpoint / f"{name}{SUFFIX}", checkpoint / name

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole tensors' shapes, by name."""
        if self.file.exists():
            with safe_open(self.file, framework="pt") as opened:
                return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        return {name: tuple(entry.size) for name, entry in self._metadata().items()}

    def whole(self) -> dict[str, Tensor]:
        """All of its tensors, put together, on the CPU; nothing is asked of other processes."""
        if self.file.exists():
            return load_file(self.file)
        tensors = {name: torch.empty(e.size, dtype=e.properties.dtype) for name, e in self._metadata().items()}
        if tensors:
            from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
            from torch.distributed.checkpoint.state_dict_loader import load

            with _own_errors():
                load(tensors, storage_reader=HuggingFaceStorageReader(str(self.folder)), no_dist=True)
        return tensors

    def fill(self, into: Mapping[str, Tensor]) -> None:
        """Put what is stored into tensors in place, each process into its own shards; all processes call it.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape.
        """
        require_same_shapes(shapes_of(into), self.shapes())
        if not into:
            return
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not self.file.exists():
            with _own_errors():
                load(dict(into), storage_reader=HuggingFaceStorageReader(str(self.folder)))
            return
        with safe_open(self.file, framework="pt") as opened:
            for name, tensor in into.items():
                value = opened.get_tensor(name).to(tensor.device)
                if isinstance(tensor, DTensor):  # every process reads the whole and keeps its own piece
                    value = distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)
                tensor.copy_(value)

    def _metadata(self) -> dict[str, Any]:
        if not self.folder.is_dir():
            return {}
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

        return dict(HuggingFaceStorageReader(str(self.folder)).read_metadata().state_dict_metadata)


@contextmanager
def _own_errors() -> Iterator[None]:
    """One process' error in the place of the collection of all; torch's note that it works alone is not shown."""
    from torch.distributed.checkpoint.api import CheckpointException

    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error
    finally:
        logger.setLevel(level)
