"""A policy: a causal language model with the tokenizer it was trained with, as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import GenerationConfig, PreTrainedModel

from alignment.errors import CheckpointError, CheckpointUnavailable, TokenizerError
from alignment.model.checkpoint import load_model, save_model
from alignment.model.weight_files import require_plain_files
from alignment.policy.foreign.meta import is_meta_checkpoint, read_meta_checkpoint
from alignment.policy.pairing import require_fitting_config, require_recorded_tokenizer
from alignment.store.atomic import staged_folder
from alignment.store.manifest import Manifest, write_manifest
from alignment.text.chat import FORMAT_VERSION
from alignment.text.tokenizer import MODEL_FILE, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A model and its tokenizer.

    Attributes:
        model: our core for Llama, a transformers model with forest attention otherwise.
        tokenizer: its SentencePiece model.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer


def save_policy(policy: Policy, folder: Path, *, meta: Mapping[str, Any] | None = None) -> Manifest:
    """Write model, tokenizer and manifest; the folder appears as a whole.

    Every tool that loads a Llama checkpoint loads the folder.
    """
    with staged_folder(folder, replace=True) as aside:
        save_model(policy.model, aside)
        policy.tokenizer.save(aside)
        GenerationConfig(bos_token_id=1, eos_token_id=2, temperature=0.6, top_p=0.9, do_sample=True).save_pretrained(
            aside
        )
        return write_manifest(
            aside,
            kind="policy",
            meta={"tokenizer": policy.tokenizer.sha256, "chat_format": FORMAT_VERSION, **(meta or {})},
        )


def load_policy(path: Path | str, *, revision: str | None = None, dtype: torch.dtype = torch.float32) -> Policy:
    """Read a policy from a checkpoint's folder (ours, any Llama one with a `tokenizer.model`, Meta's) or the hub.

    Raises:
        CheckpointError: the files do not verify or do not fit their configuration.
        TokenizerError: there is no SentencePiece model, it is not the one that the checkpoint was saved with, or
            its size or special ids are not the model's.
    """
    folder = checkpoint_folder(path, revision)
    require_plain_files(folder)
    if not (folder / MODEL_FILE).exists():
        raise TokenizerError(
            f"{folder} holds no {MODEL_FILE}; the SentencePiece model that the checkpoint was trained with is needed"
        )
    tokenizer = Tokenizer.load(folder)
    require_recorded_tokenizer(folder, tokenizer)
    model = read_meta_checkpoint(folder, dtype=dtype) if is_meta_checkpoint(folder) else load_model(folder, dtype=dtype)
    require_fitting_config(tokenizer, model.config, str(path))
    return Policy(model=model, tokenizer=tokenizer)


def checkpoint_folder(path: Path | str, revision: str | None = None) -> Path:
    """A local folder as it is, or a hub checkpoint's files (safetensors, JSON and tokenizer only).

    Raises:
        CheckpointError: it is neither a folder nor a hub name.
        CheckpointUnavailable: it is a hub name, not in the hub's cache, and cannot be fetched.
    """
    folder, name = Path(path), str(path)
    if folder.is_dir():
        return folder
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"{name} is no folder; a checkpoint's folder or a hub name ('owner/name') is needed")
    patterns = ["*.safetensors", "*.json", "*.jinja", MODEL_FILE]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointUnavailable(name, _why_not_fetched(error)) from error


def _why_not_fetched(error: Exception) -> str:
    """A hub's error in a few words."""
    if isinstance(error, GatedRepoError):
        return "it is gated, and nobody who may read it is logged in"
    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such revision of it"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no model of that name, or a private one"
    if isinstance(error, LocalEntryNotFoundError):
        offline = "offline mode is on (HF_HUB_OFFLINE)" if HF_HUB_OFFLINE else "the hub cannot be reached"
        return f"{offline}, and it is not in the hub's cache"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
