"""A model with an adapter that is being trained beside it: made, saved as PEFT's folder, and merged when it is done.

LoRA (Hu et al. 2021): the base is frozen, and only the adapter (of a reward model its head too) is trained.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from alignment.errors import SettingError, UsageError
from alignment.model.checkpoint import align_weights, quiet_loading
from alignment.policy.adapter import CONFIG, require_peft
from alignment.policy.origin import BASE, Origin, weights_digest
from alignment.policy.quantised import quantise
from alignment.policy.settings import AdapterSettings
from alignment.store.atomic import staged_folder, write_json
from alignment.store.manifest import Manifest, write_manifest
from alignment.text.tokenizer import Tokenizer

_ADAPTER = "default"  # PEFT's name of the one that a model has


def is_adapted(model: nn.Module) -> bool:
    """Whether a model has an adapter of PEFT's around it."""
    peft = sys.modules.get("peft")  # who wrapped it has imported it
    return peft is not None and isinstance(model, peft.PeftModel)


def without_wrapper(model: nn.Module) -> nn.Module:
    """The model itself, whose layers an adapter of PEFT's stands in; any other as it is."""
    return cast(Any, model).get_base_model() if is_adapted(model) else model


def adapt(model: PreTrainedModel, settings: AdapterSettings, *, seed: int, head: str | None = None) -> PreTrainedModel:
    """The model wrapped by PEFT with a new adapter, which changes nothing yet; all of the model's own is frozen.

    Args:
        model: its layers are wrapped in place.
        seed: of the adapter's first matrices.
        head: a module that is trained whole and saved with the adapter; a reward model's.

    Returns:
        The wrapper, which is called as the model is.

    Raises:
        MissingExtra: peft is not installed, or for nf4 bitsandbytes.
        SettingError: the model has not the layers that are to be adapted.
    """
    peft = require_peft()
    targets = chosen_targets(model, settings, head=head)
    if settings.base_precision == "nf4":
        quantise(model, linear_layers(model, head=head))
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(targets),
        modules_to_save=[head] if head is not None else None,
        task_type="CAUSAL_LM" if head is None else "SEQ_CLS",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped: PreTrainedModel = peft.get_peft_model(model, config)
    return wrapped


def chosen_targets(model: PreTrainedModel, settings: AdapterSettings, *, head: str | None = None) -> tuple[str, ...]:
    """Names of the layers to adapt, as PEFT takes them.

    Raises:
        SettingError: a name that the model's layers have not; says which they have.
    """
    there = tuple(dict.fromkeys(name.rpartition(".")[2] for name in linear_layers(model, head=head)))
    if settings.targets == "all-linear":
        return there
    if unknown := [name for name in settings.targets if name not in there]:
        raise SettingError(
            "adapter.targets",
            f"names {', '.join(unknown)}, which the model's layers have not; they have {', '.join(there)}",
        )
    return settings.targets


def linear_layers(model: PreTrainedModel, *, head: str | None = None) -> tuple[str, ...]:
    """Full names of a model's linear layers, without the vocabulary's projection and a reward model's head."""
    output = model.get_output_embeddings() if head is None else None
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not output and name != head
    )


def merge(wrapped: PreTrainedModel) -> PreTrainedModel:
    """The model itself with what its adapter has learnt added to its weights, all of which can be trained again."""
    merged: PreTrainedModel = cast(Any, wrapped).merge_and_unload()
    merged.requires_grad_(True)  # peft freezes what it adapts
    align_weights(merged)
    return merged


def save_adapted(
    wrapped: PreTrainedModel,
    origin: Origin | None,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    kind: str,
    meta: Mapping[str, Any],
) -> Manifest:
    """Write an adapter as PEFT does, with tokenizer and manifest; the folder appears as a whole.

    Args:
        origin: of the base; the folder names it and notes the digest of its weights.
        kind, meta: the manifest's.

    Raises:
        UsageError: nobody knows where the base is.
    """
    if origin is None:
        raise UsageError(f"{folder} would hold an adapter that names no base; load the base from where it is saved")
    config: Any = wrapped.peft_config[_ADAPTER]
    config.base_model_name_or_path, config.revision = origin.named_from(folder), origin.revision
    with staged_folder(folder, replace=True) as aside:
        with quiet_loading():
            wrapped.save_pretrained(aside, save_embedding_layers=False)
        (aside / "README.md").unlink(missing_ok=True)  # a form to be filled in for the hub
        said = json.loads((aside / CONFIG).read_text(encoding="utf-8"))
        said["target_modules"] = sorted(said["target_modules"])  # PEFT's set has another order in every process
        write_json(aside / CONFIG, said)
        tokenizer.save(aside)
        return write_manifest(aside, kind=kind, meta={**meta, BASE: weights_digest(origin.folder)})
