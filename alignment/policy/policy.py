"""A policy: a causal language model with the tokenizer it was trained with, as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from alignment.errors import CheckpointError
from alignment.model.checkpoint import load_model, new_model, save_model
from alignment.model.settings import ModelSettings, SizeName
from alignment.model.weight_files import require_plain_files
from alignment.policy.adapted import is_adapted, save_adapted
from alignment.policy.adapter import describe, is_adapter, merge_adapter, scores
from alignment.policy.folder import base_folder, checkpoint_folder, require_no_base
from alignment.policy.foreign.meta import is_meta_checkpoint, read_meta_checkpoint
from alignment.policy.origin import Origin, require_its_base
from alignment.policy.pairing import checkpoint_tokenizer, require_fitting_config
from alignment.store.atomic import staged_folder
from alignment.store.manifest import Manifest, write_manifest
from alignment.text.agreement import same_ids
from alignment.text.chat import FORMAT_VERSION
from alignment.text.json_codec import JSON_FILE
from alignment.text.tokenizer import MODEL_FILE, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A model and its tokenizer.

    Attributes:
        model: our core for Llama, a transformers model with forest attention otherwise.
        tokenizer: its vocabulary and how it cuts texts.
        notes: what was done on loading that people should know; whoever loads one for them passes it on.
        origin: where it was loaded from; an adapter is trained beside what is there.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    notes: tuple[str, ...] = ()
    origin: Origin | None = None

    @staticmethod
    def fresh(size: SizeName | ModelSettings, tokenizer: Tokenizer, *, seed: int = 0) -> Policy:
        """An untrained policy of a named size, or of a shape of one's own, with the tokenizer's vocabulary."""
        shape = size if isinstance(size, ModelSettings) else ModelSettings(size=size)
        return Policy(model=new_model(shape, tokenizer.vocab_size, seed=seed), tokenizer=tokenizer)


def save_policy(policy: Policy, folder: Path | str, *, meta: Mapping[str, Any] | None = None) -> Manifest:
    """Write model, tokenizer and manifest; the folder appears as a whole.

    Every tool that loads a Llama checkpoint loads the folder.  Of a model with an adapter (`adapted.adapt`) the adapter
    alone is written, as PEFT does, with the base's name; PEFT and `load_policy` load that folder.
    """
    marks = {"tokenizer": policy.tokenizer.sha256, "chat_format": FORMAT_VERSION, **(meta or {})}
    if is_adapted(policy.model):
        return save_adapted(policy.model, policy.origin, policy.tokenizer, Path(folder), kind="policy", meta=marks)
    pad = policy.model.config.pad_token_id = policy.tokenizer.pad_id
    sampling = GenerationConfig(
        bos_token_id=1, eos_token_id=2, pad_token_id=pad, temperature=0.6, top_p=0.9, do_sample=True
    )
    with staged_folder(Path(folder), replace=True) as aside:
        save_model(policy.model, aside)
        policy.tokenizer.save(aside)
        sampling.save_pretrained(aside)
        return write_manifest(aside, kind="policy", meta=marks)


def load_policy(
    path: Path | str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    base: Path | str | None = None,
) -> Policy:
    """Read a policy from a checkpoint's folder (ours, any Llama one, Meta's, a PEFT adapter's) or the hub.

    The tokenizer is the folder's `tokenizer.model`, or its `tokenizer.json` where that is all and of LLaMA's type.  An
    adapter is merged into its base model, which `Policy.notes` says.

    Args:
        base: where an adapter's base model is, if not where its `adapter_config.json` says.

    Raises:
        CheckpointError: the files do not verify or do not fit their configuration, or an adapter's base model is not
            found or does not fit it.
        TokenizerError: there is no tokenizer, it is of another type, it is not the one that the checkpoint was saved
            with, its size or special ids are not the model's, or two files of it give other ids.
        MissingExtra: it is an adapter, and peft is not installed.
    """
    folder = checkpoint_folder(path, revision)
    require_plain_files(folder)
    hub = None if Path(path).is_dir() else str(path)
    origin = Origin(folder=folder, hub=hub, revision=revision if hub is not None else None)
    if is_adapter(folder):
        return _merged_policy(origin, base_folder(folder, base), dtype)
    require_no_base(folder, base)
    tokenizer = checkpoint_tokenizer(folder)
    model = read_meta_checkpoint(folder, dtype=dtype) if is_meta_checkpoint(folder) else load_model(folder, dtype=dtype)
    require_fitting_config(tokenizer, model.config, str(path))
    return Policy(model=model, tokenizer=tokenizer, origin=origin)


def load_tokenizer(path: Path | str, *, revision: str | None = None, base: Path | str | None = None) -> Tokenizer:
    """The tokenizer of the policy that `load_policy` reads; no weight is read.

    Raises:
        CheckpointError, TokenizerError: as `load_policy`.
    """
    folder = checkpoint_folder(path, revision)
    require_plain_files(folder)
    if is_adapter(folder):
        return _adapters_tokenizer(folder, load_tokenizer(base_folder(folder, base)))
    require_no_base(folder, base)
    return checkpoint_tokenizer(folder)


def _merged_policy(origin: Origin, under: Path, dtype: torch.dtype) -> Policy:
    folder = origin.folder
    if scores(folder):
        raise CheckpointError(f"{folder} is a reward model's adapter, which scores answers and gives none")
    require_its_base(folder, under)
    base = load_policy(under, dtype=dtype)
    tokenizer = _adapters_tokenizer(folder, base.tokenizer)
    model = merge_adapter(base.model, folder)
    require_fitting_config(tokenizer, model.config, f"{under}, with the adapter {folder} merged into it,")
    note = f"{folder} is an adapter ({describe(folder)}): merged into its base model, {under}"
    return Policy(model=model, tokenizer=tokenizer, notes=(*base.notes, note), origin=origin)


def _adapters_tokenizer(folder: Path, base: Tokenizer) -> Tokenizer:
    """The base model's, unless the adapter's folder brings one that gives other ids."""
    if not any((folder / name).exists() for name in (MODEL_FILE, JSON_FILE)):
        return base
    own = Tokenizer.load(folder)
    return base if same_ids(base, own) else own
