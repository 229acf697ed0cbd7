"""Where a model's weights are on the disk: what an adapter that is trained beside them names as its base."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from alignment.errors import CheckpointError, UsageError
from alignment.model.weight_files import stored_tensors
from alignment.policy.adapter import adapted_names, bases_here, is_adapter, weight_decisions
from alignment.policy.foreign.meta import is_meta_checkpoint
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import file_digest, read_manifest

BASE = "base"  # of an adapter's manifest: the digest of the base that it was trained on


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model was loaded from.

    Attributes:
        folder: its files.
        hub: its name there, where it came from the hub.
        revision: of the hub.
    """

    folder: Path
    hub: str | None = None
    revision: str | None = None

    def named_from(self, folder: Path) -> str:
        """How an adapter in `folder` names it: by its hub name; from `folder` where both lie in one run, which can then
        be moved as a whole; else by its full path."""
        if self.hub is not None:
            return self.hub
        own, there = (Path(os.path.normpath(each.absolute())) for each in (folder, self.folder))
        near = own.parents[2] if len(own.parents) > 3 else own.parent
        return os.path.relpath(there, own) if there.is_relative_to(near) else str(there)


def weights_digest(folder: Path) -> str:
    """SHA-256, in hex, of a checkpoint's tensors by name, however they are spread over files.

    An adapter's is of its own tensors, of what its configuration makes of them, and of its base's where it notes that.
    """
    digest = hashlib.sha256()
    if is_meta_checkpoint(folder):
        for file in sorted(folder.glob("*.pth")):
            digest.update(f"{file.name} {file_digest(file)}\n".encode())
        return digest.hexdigest()
    for name, tensor in _tensors(folder):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    if is_adapter(folder):
        digest.update(f"{weight_decisions(folder)} {noted_base(folder)}\n".encode())
    return digest.hexdigest()


def noted_base(folder: Path) -> str | None:
    """The digest of the base that an adapter of ours was trained on; None where nobody noted it."""
    if not (folder / MANIFEST).exists():
        return None
    noted = read_manifest(folder).meta.get(BASE)
    return str(noted) if noted is not None else None


def require_its_base(folder: Path, base: Path) -> None:
    """Refuse an adapter on another base than the one that it was trained on, where its folder says which.

    Raises:
        CheckpointError: naming both and both digests.
    """
    noted = noted_base(folder)
    if noted is not None and (found := weights_digest(base)) != noted:
        raise CheckpointError(
            f"the adapter {folder} was trained on a base whose weights are {noted[:12]}…; {base} holds other ones, "
            f"{found[:12]}…; give the base that it was trained on (base=FOLDER)"
        )


def require_unchanged(model: nn.Module, origin: Origin | None) -> Origin:
    """Where the model's weights are, after a look that they are still the ones in memory.

    Raises:
        UsageError: it was loaded from nowhere, or changed since: nobody could put an adapter on it again.
    """
    if origin is None:
        raise UsageError(
            "an adapter is trained beside a base that is on the disk, and this model was loaded from none; save it and "
            "load it back (save_policy, load_policy)"
        )
    bases = [origin.folder, *bases_here(origin.folder)]
    if is_meta_checkpoint(bases[-1]) or is_adapter(bases[-1]):
        return origin  # names of its own; or the base comes from the hub
    merged = {name for folder in bases[:-1] for name in adapted_names(folder)}
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, tensor in _tensors(bases[-1]):
        mine = own.get(name)
        if mine is None or merged & set(name.split(".")):
            continue
        if mine.shape != tensor.shape or not torch.equal(mine.detach().cpu(), tensor.to(mine.dtype)):
            raise UsageError(
                f"an adapter is trained beside a base that is on the disk, and {name} has changed since the model was "
                f"loaded from {origin.folder}; save it and load it back (save_policy, load_policy)"
            )
    return origin


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """A checkpoint's tensors in the order of their names."""
    for stored in sorted(stored_tensors(folder), key=lambda each: each.name):
        with safe_open(stored.file, framework="pt") as file:
            yield stored.name, file.get_tensor(stored.name)
