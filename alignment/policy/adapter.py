"""A PEFT adapter's folder: which model it belongs on, and the two merged into one model.

`adapter_config.json` and `adapter_model.safetensors`, as `PeftModel.save_pretrained` writes them.  Importing this file
loads neither torch nor peft.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import CheckpointError, MissingExtra
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter.

    Raises:
        CheckpointError: it holds a whole model as well.
    """
    if not (folder / CONFIG).exists():
        return False
    if (folder / "config.json").exists() and (weights := _whole_model(folder)) is not None:
        raise CheckpointError(
            f"{folder} holds a whole model ({weights.name}) and an adapter ({CONFIG}); keep each in a folder of its own"
        )
    return True


def base_named_by(folder: Path) -> tuple[str | None, str | None]:
    """The base model that an adapter's configuration names (a folder or a hub name), and its revision on the hub.

    Raises:
        CheckpointError: the configuration cannot be read.
    """
    config = _config(folder)
    named, revision = config.get("base_model_name_or_path"), config.get("revision")
    return (str(named) if named else None), (str(revision) if revision else None)


def bases_here(folder: Path) -> list[Path]:
    """The folders that an adapter stands on, the nearest first, as far as they are on this machine.

    A base may be an adapter as well, which stands on one of its own.

    Raises:
        CheckpointError: a configuration cannot be read, or they stand on each other in a circle.
    """
    found: list[Path] = []
    here = folder
    while is_adapter(here) and (base := local_base(here)) is not None:
        if any(base.samefile(each) for each in (folder, *found)):
            raise CheckpointError(f"the adapter {folder} belongs on {base}, which belongs on it in turn")
        found.append(base)
        here = base
    return found


def local_base(folder: Path) -> Path | None:
    """The folder that an adapter's configuration names; None where it names none that is here.

    A relative name counts from the adapter's own folder first, so that both can be moved together.
    """
    named, _ = base_named_by(folder)
    places = (Path(os.path.normpath(folder / named)), Path(named)) if named else ()
    try:
        return next((place for place in places if place.is_dir()), None)
    except OSError:  # no name of a folder at all
        return None


def adapted_names(folder: Path) -> set[str]:
    """Names of the modules that an adapter changes."""
    config = _config(folder)
    said = [config.get(name) or () for name in ("target_modules", "modules_to_save")]
    return {str(name) for names in said for name in ([names] if isinstance(names, str) else names)}


def scores(folder: Path) -> bool:
    """Whether an adapter is of a model that scores (PEFT's task SEQ_CLS), with a head of its own."""
    return _config(folder).get("task_type") == "SEQ_CLS"


def weight_decisions(folder: Path) -> str:
    """What of an adapter's configuration decides what its tensors do, as one line of JSON."""
    besides = {"base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping"}
    return json.dumps({name: value for name, value in _config(folder).items() if name not in besides}, sort_keys=True)


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The base model with an adapter added to its weights; the base is changed in place.

    Raises:
        MissingExtra: peft is not installed.
        CheckpointError: the adapter's files are damaged or do not fit the model, or its kind cannot be merged.
    """
    from alignment.model.checkpoint import align_weights, require_finite
    from alignment.model.weight_files import check_weight_files, stored_tensors

    peft = require_peft()
    if (folder / MANIFEST).exists():
        verify(folder)
    if not (folder / WEIGHTS).exists():
        raise CheckpointError(f"{folder} holds {CONFIG} but no {WEIGHTS}; pickled weights are not read")
    check_weight_files(folder)
    stored = {tensor.name: tensor.shape for tensor in stored_tensors(folder)}
    _require_no_tied_head(model, stored, folder)
    _grow(model, stored)
    try:
        wrapped = peft.PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    except Exception as error:  # whatever a configuration that does not fit makes peft raise
        raise CheckpointError(
            f"the adapter {folder} does not fit its base model ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]})"
        ) from error
    if not hasattr(wrapped.base_model, "merge_and_unload"):
        raise CheckpointError(f"{folder} is a {_kind(folder)} adapter: no change of weights, so it cannot be merged")
    _require_all_taken(wrapped, stored, folder)
    merged: PreTrainedModel = wrapped.merge_and_unload()
    merged.requires_grad_(True)  # peft freezes what it adapts
    align_weights(merged)
    require_finite(merged, f"{folder}, merged into its base")
    return merged


def require_peft() -> Any:
    """The library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise MissingExtra("peft", "peft") from None
    return peft


def describe(folder: Path) -> str:
    """An adapter's kind and rank, for people."""
    rank = _config(folder).get("r")
    return _kind(folder) + (f" of rank {rank}" if rank else "")


def _kind(folder: Path) -> str:
    return str(_config(folder).get("peft_type"))


def _config(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read ({type(error).__name__}: {error}); it is damaged") from None
    if not isinstance(config, dict) or "peft_type" not in config:
        raise CheckpointError(f"{file} names no peft_type; a configuration that PEFT wrote is needed")
    return config


def _whole_model(folder: Path) -> Path | None:
    return next((file for file in sorted(folder.glob("*.safetensors")) if file.name != WEIGHTS), None)


def _require_no_tied_head(model: PreTrainedModel, stored: Mapping[str, Any], folder: Path) -> None:
    """Head and embedding are one tensor there: what is added for one would change the other."""
    name = next((name for name in stored if "lm_head" in name or "embed_tokens" in name), None)
    if name is not None and model.config.tie_word_embeddings:
        raise CheckpointError(
            f"{folder} adapts {name}, but its base model ties head and embedding to one tensor (tie_word_embeddings); "
            f"merge it with the program that trained it"
        )


def _grow(model: PreTrainedModel, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Give the base the rows of a vocabulary that the adapter brings whole (tokens were added before training)."""
    embedding = next((shape for name, shape in stored.items() if name.endswith("embed_tokens.weight")), None)
    head = any(name.endswith("lm_head.weight") for name in stored)
    if embedding is not None and head and embedding[0] > model.config.vocab_size:
        model.resize_token_embeddings(embedding[0])


def _require_all_taken(wrapped: Any, stored: Mapping[str, Any], folder: Path) -> None:
    """peft only warns of tensors that the adapter lacks, and drops those that it does not know."""
    import peft

    expected = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    if missing := sorted(expected - stored.keys()):
        raise CheckpointError(f"{folder / WEIGHTS} lacks {missing[0]}, which {CONFIG} makes")
    known = expected | set(wrapped.state_dict())
    # a trained embedding is written twice where tokens were added: by its own name and by its wrapper's
    if unknown := sorted(name for name in stored if name.replace(".modules_to_save", "") not in known):
        raise CheckpointError(f"{folder / WEIGHTS} holds {unknown[0]}, which {CONFIG} and the base model have not")
