"""The core of the suite: model, text, data, training, generation, evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alignment.process import set_environment

if TYPE_CHECKING:
    from alignment.evaluate.versions import evaluate_versions as evaluate_versions
    from alignment.policy.policy import Policy as Policy
    from alignment.policy.policy import load_policy as load_policy
    from alignment.policy.policy import save_policy as save_policy
    from alignment.text.tokenizer import Tokenizer as Tokenizer
    from alignment.text.tokenizer import train_tokenizer as train_tokenizer
    from alignment.train.pretrain import pretrain as pretrain
    from alignment.train.session import Session as Session
    from alignment.train.sft import sft as sft
    from alignment.version import __version__ as __version__
    from alignment.world import World as World

set_environment()  # before anything below loads torch

_HOMES = {
    "load_policy": "alignment.policy.policy",
    "save_policy": "alignment.policy.policy",
    "Policy": "alignment.policy.policy",
    "pretrain": "alignment.train.pretrain",
    "sft": "alignment.train.sft",
    "Session": "alignment.train.session",
    "train_tokenizer": "alignment.text.tokenizer",
    "Tokenizer": "alignment.text.tokenizer",
    "World": "alignment.world",
    "evaluate_versions": "alignment.evaluate.versions",
    "__version__": "alignment.version",
}
__all__ = [
    "Policy",
    "Session",
    "Tokenizer",
    "World",
    "__version__",
    "evaluate_versions",
    "load_policy",
    "pretrain",
    "save_policy",
    "sft",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
