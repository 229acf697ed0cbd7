"""What belongs together: a model with the tokenizer it was trained with, judges with the policy they judge.

A vocabulary of the right size is no proof: two tokenizers of one size read the same ids as other texts.  So
pairs are compared by the digest of the tokenizer's file, and special ids by what the model's configuration says.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedConfig

from alignment.errors import TokenizerError
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import read_manifest
from alignment.text.agreement import require_agreement
from alignment.text.tokenizer import Tokenizer


def require_same_tokenizer(one: Tokenizer, what: str, other: Tokenizer, other_what: str) -> None:
    """Refuse two parts whose token ids mean different texts.

    Raises:
        TokenizerError: naming both and both digests.
    """
    if one.sha256 != other.sha256:
        raise TokenizerError(
            f"{what} has the tokenizer {one.sha256[:12]}… ({one.vocab_size} pieces), {other_what} has "
            f"{other.sha256[:12]}… ({other.vocab_size} pieces); both must be made with the same one"
        )


def checkpoint_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint's folder.

    Raises:
        TokenizerError: as `Tokenizer.load`; or the checkpoint is ours and was saved with another one.
        CheckpointError: the manifest cannot be used.
    """
    tokenizer = Tokenizer.load(folder, compare=False)
    _require_recorded(folder, tokenizer)  # first: it says more than that two files differ
    require_agreement(tokenizer, folder)
    return tokenizer


def _require_recorded(folder: Path, tokenizer: Tokenizer) -> None:
    if not (folder / MANIFEST).exists():
        return
    recorded = read_manifest(folder).meta.get("tokenizer")
    if recorded is not None and recorded != tokenizer.sha256:
        raise TokenizerError(
            f"{folder} was saved with the tokenizer {str(recorded)[:12]}…, its {tokenizer.file_name} is now "
            f"{tokenizer.sha256[:12]}… ({tokenizer.vocab_size} pieces); put the file back that it was trained with"
        )


def require_fitting_config(tokenizer: Tokenizer, config: PreTrainedConfig, what: str) -> None:
    """Refuse a model whose vocabulary or special ids are not the tokenizer's.

    Raises:
        TokenizerError: naming the sizes or the ids, and the tokenizer's digest.
    """
    tokenizer.require_fit(config.vocab_size, what)
    for name, own in (("bos_token_id", tokenizer.bos_id), ("eos_token_id", tokenizer.eos_id)):
        said = getattr(config, name, None)
        if said is not None and own not in (said if isinstance(said, (list, tuple)) else [said]):
            raise TokenizerError(
                f"{what} has {name} {said} in its config.json, the tokenizer (SHA-256 {tokenizer.sha256[:12]}…) has "
                f"{own}; they must be the ones that were trained together"
            )
