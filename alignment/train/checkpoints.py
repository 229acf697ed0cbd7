"""Checkpoints while training: staged, hashed, renamed; the newest *verified* one is resumed from.

A checkpoint is a folder `step-000120/` with `model.safetensors`, `optimizer.safetensors`,
`state.json` and its manifest, which names the stage's fingerprint and the step.  What a training holds in shards is a
folder of such files instead, `model/`, `optimizer/`; both are read, whole or in shards, by any number of processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from alignment.errors import CheckpointError
from alignment.store.atomic import remove_folder, staged_folder, write_json
from alignment.store.manifest import verify, write_manifest
from alignment.train.compute import from_first
from alignment.train.optimizer import load_optimizer_tensors, optimizer_tensors
from alignment.train.shapes import require_same_shapes, shapes_of
from alignment.train.shard_files import StoredPart

_NAME = re.compile(r"step-(\d{6,})")


class Part(Protocol):
    """A part of a training that its checkpoints hold."""

    def values(self) -> Mapping[str, Any]:
        """Plain values (JSON-able) for `state.json`; their names must differ from those of other parts."""


@runtime_checkable
class Saved(Part, Protocol):
    """A part that one process writes whole."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What goes into the part's own file; none makes no file."""

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put back what `tensors` and `values` gave; the values are those of all parts."""


@runtime_checkable
class Gathered(Saved, Protocol):
    """A part that one process writes whole once all have brought their shares together."""

    def gather(self) -> None:
        """Called by every process before the first one asks for `tensors`."""


@runtime_checkable
class Sharded(Part, Protocol):
    """A part of which every process writes and reads its own share."""

    def write(self, folder: Path) -> None:
        """Write this process' share into the part's own folder; every process calls it."""

    def read(self, stored: StoredPart, values: Mapping[str, Any]) -> None:
        """Put this process' share back; every process calls it."""


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A verified checkpoint: the steps done, its plain state, and where its tensors lie."""

    step: int
    state: Mapping[str, Any]
    folder: Path

    def part(self, name: str) -> StoredPart:
        """What it holds of a part."""
        return StoredPart(self.folder, name)

    def put_back(self, parts: Mapping[str, Part], values: Mapping[str, Any]) -> None:
        """Hand every part what was saved of it.

        Raises:
            CheckpointError: something does not fit.
        """
        for name, part in parts.items():
            if isinstance(part, Sharded):
                part.read(self.part(name), values)
            elif isinstance(part, Saved):
                part.load(self.part(name).whole(), values)


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: their parent.
        fingerprint: of the stage; checkpoints of another one are skipped.
        keep: how many of the newest stay.
        say: told what was skipped and why.

    Raises:
        CheckpointError: the folder is a symbolic link.
    """

    def __init__(self, folder: Path, *, fingerprint: str, keep: int, say: Callable[[str], None]) -> None:
        self.folder, self.fingerprint, self.keep, self.say = folder, fingerprint, keep, say
        if folder.is_symlink():
            raise CheckpointError(
                f"{folder} is a symbolic link; what it leads to may be another training's: put it in the link's place"
            )

    def save(
        self,
        step: int,
        *,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
        sharded: Mapping[str, Sharded] | None = None,
    ) -> None:
        """Write one checkpoint whole, then drop the oldest by step; the first process' call.

        Args:
            sharded: parts that all processes write together; the others call `join` meanwhile.

        Those of later steps go too: they were skipped (torn, or another fingerprint's) when the stage
        resumed before them, and must not outlive the one just written.

        Raises:
            DiskFull: no space; older checkpoints stand.
        """
        target = self.folder / f"step-{step:06d}"
        if target.exists():
            remove_folder(target)
        with staged_folder(target) as aside:
            for name, entries in tensors.items():
                if entries:
                    save_file({k: v.detach().contiguous() for k, v in entries.items()}, aside / f"{name}.safetensors")
            if sharded:
                from_first(str(aside))  # the others write beside it
                _write_shares(aside, sharded)
            write_json(aside / "state.json", dict(state))
            write_manifest(aside, kind="training", meta={"step": step, "fingerprint": self.fingerprint})
        found = self._by_step()
        up_to_here = [path for at, path in found if at <= step]
        for old in [path for at, path in found if at > step] + up_to_here[: -self.keep]:
            remove_folder(old)

    def join(self, sharded: Mapping[str, Sharded]) -> None:
        """Write this process' shares into the checkpoint that the first process is saving."""
        if sharded:
            _write_shares(Path(from_first("")), sharded)

    def newest(self) -> Resumed | None:
        """The newest checkpoint that verifies; says what it skipped."""
        for step, path in reversed(self._by_step()):
            try:
                verify(path, kind="training", expect={"step": step, "fingerprint": self.fingerprint})
                state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            except CheckpointError as error:
                self.say(f"skipped {path.name}: {error}")
                continue
            return Resumed(step=step, state=state, folder=path)
        return None

    def clear(self) -> None:
        """Remove them all; the stage's result stands."""
        remove_folder(self.folder)

    def _by_step(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((int(match.group(1)), path) for match, path in found if match)


def _write_shares(checkpoint: Path, sharded: Mapping[str, Sharded]) -> None:
    for name, part in sharded.items():
        part.write(checkpoint / name)


def model_tensors(model: nn.Module, *, trained_only: bool = False) -> dict[str, Tensor]:
    """A model's parameters by name, shared ones once, on the CPU; all of them, or those that are not frozen."""
    seen: set[int] = set()
    tensors = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) not in seen and (parameter.requires_grad or not trained_only):
            seen.add(id(parameter))
            tensors[name] = parameter.detach().cpu()
    return tensors


def load_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], *, trained_only: bool = False) -> None:
    """Put saved parameters back in place.

    Raises:
        CheckpointError: a parameter is missing, unknown or of another shape.
    """
    expected = model_tensors(model, trained_only=trained_only)
    require_same_shapes(shapes_of(expected), shapes_of(tensors))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


@dataclass(frozen=True)
class SavedModel:
    """A model as a part of a checkpoint: what is trained of it; what is frozen is there when it starts again."""

    model: nn.Module

    def tensors(self) -> Mapping[str, Tensor]:
        """Its parameters."""
        return model_tensors(self.model, trained_only=True)

    def values(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put the parameters back in place.

        Raises:
            CheckpointError: they do not fit the model.
        """
        load_model_tensors(self.model, tensors, trained_only=True)


@dataclass(frozen=True)
class SavedOptimizer:
    """An optimizer's state as a part of a checkpoint."""

    model: nn.Module
    optimizer: torch.optim.Optimizer

    def tensors(self) -> Mapping[str, Tensor]:
        """Its state by parameter."""
        return optimizer_tensors(self.model, self.optimizer)

    def values(self) -> Mapping[str, Any]:
        """None: the learning rate is set anew each step."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put the state back.

        Raises:
            CheckpointError: it names a parameter that the model has not.
        """
        load_optimizer_tensors(self.model, self.optimizer, tensors)
