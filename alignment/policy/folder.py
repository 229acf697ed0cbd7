"""Where a checkpoint's files are: a local folder, or the hub's, fetched; and an adapter's base."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from alignment.errors import CheckpointError, CheckpointUnavailable
from alignment.model.weight_files import require_plain_files
from alignment.policy.adapter import CONFIG, base_named_by, bases_here
from alignment.store.manifest import NAME as MANIFEST
from alignment.text.tokenizer import MODEL_FILE


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


def base_folder(folder: Path, given: Path | str | None = None) -> Path:
    """Where an adapter's base model is; it may be an adapter as well.

    Args:
        given: where it is, if not where the adapter says.

    Raises:
        CheckpointError: it names none, or one that is not to be had, or they stand on each other in a circle.
    """
    if given is None and (bases := bases_here(folder)):
        require_plain_files(bases[0])
        return bases[0]
    named, revision = (given, None) if given is not None else base_named_by(folder)
    if named is None:
        raise CheckpointError(f"the adapter {folder} names no base model in its {CONFIG}; say base=FOLDER")
    try:
        base = checkpoint_folder(named, revision)
    except (CheckpointError, OSError, ValueError) as error:  # huggingface_hub raises the last two offline
        says = "base" if given is not None else f"base_model_name_or_path in its {CONFIG}"
        ours = (folder / MANIFEST).exists()  # whose files must stay as they are
        elsewhere = "put it back there" if ours else f"write the folder of the base model into {CONFIG}"
        raise CheckpointError(
            f"the adapter {folder} belongs on {named} ({says}), which is not to be had "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); say base=FOLDER, or {elsewhere}"
        ) from error
    require_plain_files(base)
    return base


def require_no_base(folder: Path, base: Path | str | None) -> None:
    """Refuse a base that was given for a whole model.

    Raises:
        CheckpointError: there is one.
    """
    if base is not None:
        raise CheckpointError(f"{folder} is a whole model; base={base} is for an adapter ({CONFIG})")
