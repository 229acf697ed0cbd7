"""The core of the suite: model, text, data, training, generation, evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.data.corpus import load_dialogues, load_documents, load_preferences, load_prompts
    from alignment.data.settings import DataSettings, SourceSettings
    from alignment.evaluate.settings import EvaluateSettings
    from alignment.evaluate.versions import evaluate_versions
    from alignment.generate.settings import SamplingSettings
    from alignment.model.settings import ModelSettings
    from alignment.policy.policy import Policy, load_policy, save_policy
    from alignment.policy.settings import AdapterSettings
    from alignment.records import Dialogue, Document, LabelledAnswer, Preference
    from alignment.text.settings import TokenizerSettings
    from alignment.text.tokenizer import Tokenizer, train_tokenizer
    from alignment.train.pretrain import pretrain
    from alignment.train.session import Session
    from alignment.train.settings import ComputeSettings, OptimizerSettings, PretrainSettings, SftSettings
    from alignment.train.sft import sft
    from alignment.version import __version__
    from alignment.world import World

_ROOMS = {
    "data.corpus": ("load_dialogues", "load_documents", "load_preferences", "load_prompts"),
    "data.settings": ("DataSettings", "SourceSettings"),
    "evaluate.settings": ("EvaluateSettings",),
    "evaluate.versions": ("evaluate_versions",),
    "generate.settings": ("SamplingSettings",),
    "model.settings": ("ModelSettings",),
    "policy.policy": ("Policy", "load_policy", "save_policy"),
    "policy.settings": ("AdapterSettings",),
    "records": ("Dialogue", "Document", "LabelledAnswer", "Preference"),
    "text.settings": ("TokenizerSettings",),
    "text.tokenizer": ("Tokenizer", "train_tokenizer"),
    "train.pretrain": ("pretrain",),
    "train.session": ("Session",),
    "train.settings": ("ComputeSettings", "OptimizerSettings", "PretrainSettings", "SftSettings"),
    "train.sft": ("sft",),
    "version": ("__version__",),
    "world": ("World",),
}
_HOMES = {name: f"alignment.{room}" for room, names in _ROOMS.items() for name in names}
__all__ = ["AdapterSettings", "ComputeSettings", "DataSettings", "Dialogue", "Document", "EvaluateSettings"]
__all__ += ["LabelledAnswer", "ModelSettings", "OptimizerSettings", "Policy", "Preference", "PretrainSettings"]
__all__ += ["SamplingSettings", "Session", "SftSettings", "SourceSettings", "Tokenizer", "TokenizerSettings", "World"]
__all__ += ["__version__", "evaluate_versions", "load_dialogues", "load_documents", "load_policy", "load_preferences"]
__all__ += ["load_prompts", "pretrain", "save_policy", "sft", "train_tokenizer"]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
