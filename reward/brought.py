"""Rewards that are brought instead of trained: opened by what they are, and compared with the run's tokenizer first."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from transformers import LlamaConfig, PreTrainedConfig

from alignment.errors import CheckpointError, TokenizerError
from alignment.model.checkpoint import read_config, read_llama
from alignment.model.weight_files import require_plain_files
from alignment.policy.adapter import bases_here, is_adapter, scores
from alignment.policy.folder import checkpoint_folder
from alignment.policy.pairing import require_same_tokenizer
from alignment.text.tokenizer import MODEL_FILE, Tokenizer
from reward.foreign import ForeignReward
from reward.function import load_function
from reward.model import LlamaReward, RewardModel
from reward.scorer import Scorer
from reward.settings import BroughtReward

_JSON_FILE = "tokenizer.json"
# a split at digits, blanks or new lines, and bytes of what has no piece, tell two tokenizers of one vocabulary apart
_PROBES = ("It costs 1,250 francs.", "  two  blanks\n\nand a new line\t", "Größe 漢字 🙂", "don't [INST] it")


def open_brought(brought: BroughtReward, tokenizer: Tokenizer) -> Scorer:
    """A brought reward, ready to score; a function's module is imported, so ask whether it may be first.

    Raises:
        UsageError: there is no such function.
        CheckpointError, TokenizerError: as `open_reward_model`.
    """
    if brought.function is not None:
        return load_function(brought.function)
    return open_reward_model(str(brought.path), tokenizer, revision=brought.revision)


def open_reward_model(path: Path | str, tokenizer: Tokenizer, *, revision: str | None = None) -> Scorer:
    """A finished reward model from a folder or the hub: ours, or any of transformers' for sequence classification.

    Args:
        tokenizer: the policy's; the model must have been trained with the same.

    Raises:
        CheckpointError: it is no folder and no hub name, its files are damaged, or it has not one label.
        TokenizerError: it reads token ids as other texts; names a piece or a text that differs.
    """
    folder = checkpoint_folder(path, revision)
    config = require_fitting_reward(folder, str(path), tokenizer)
    if not isinstance(config, LlamaConfig):
        return ForeignReward.load(folder, tokenizer)
    if (folder / MODEL_FILE).exists():
        return RewardModel.load(folder)
    return RewardModel(model=read_llama(folder, LlamaReward), tokenizer=tokenizer)


def require_fitting_reward(folder: Path, what: str, tokenizer: Tokenizer) -> PreTrainedConfig:
    """Refuse a checkpoint that cannot score the run's answers, before its weights are read.

    Returns:
        Its configuration.

    Raises:
        CheckpointError, TokenizerError: as `open_reward_model`.
    """
    require_plain_files(folder)
    adapter = is_adapter(folder)  # says of its base how large it is, and brings the head
    if adapter and not scores(folder):
        raise CheckpointError(f"{what} is an adapter of a chat model, which gives no scores; a reward model is needed")
    config = read_config([folder, *bases_here(folder)][-1])
    if config.num_labels != 1 and not adapter:
        raise CheckpointError(
            f"{what} has {config.num_labels} labels in its config.json; a reward model has one (num_labels: 1)"
        )
    require_agreeing_tokenizer(folder, what, tokenizer)
    if config.vocab_size < tokenizer.vocab_size:
        raise TokenizerError(
            f"{what} has a vocabulary of {config.vocab_size}, the run's tokenizer has {tokenizer.vocab_size} pieces"
        )
    return config


def require_agreeing_tokenizer(folder: Path, what: str, tokenizer: Tokenizer) -> None:
    """Refuse a checkpoint that was trained with another tokenizer than the run's.

    Its `tokenizer.model` is compared by digest; where there is only a `tokenizer.json`, by every piece's id and by what
    some texts become.

    Raises:
        TokenizerError: naming what differs, or that there is nothing to compare.
    """
    if (folder / MODEL_FILE).exists():
        require_same_tokenizer(Tokenizer.load(folder), f"the reward model {what}", tokenizer, "the run")
        return
    if not (folder / _JSON_FILE).exists():
        raise TokenizerError(
            f"{what} holds neither {MODEL_FILE} nor {_JSON_FILE}; whether it was trained with the run's tokenizer "
            f"cannot be told; put the tokenizer's file beside its weights"
        )
    try:
        other = FastTokenizer.from_file(str(folder / _JSON_FILE))
    except Exception as error:  # the library raises nothing narrower
        raise TokenizerError(f"{folder / _JSON_FILE} cannot be read ({error}); a tokenizer's file is needed") from None
    for i in range(tokenizer.vocab_size):
        if (piece := other.id_to_token(i)) != tokenizer.piece(i):
            raise TokenizerError(
                f"the reward model {what} reads token {i} as {piece!r}, the run's tokenizer as {tokenizer.piece(i)!r}; "
                f"both must be made with the same one"
            )
    for text in _PROBES:
        if (ids := other.encode(text, add_special_tokens=False).ids) != tokenizer.encode(text):
            raise TokenizerError(
                f"the reward model {what} has the run's pieces, but its tokenizer makes {ids} of {text!r}, the run's "
                f"{tokenizer.encode(text)}; both must be made with the same one"
            )
