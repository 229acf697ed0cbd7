"""An adapter in the place of all weights, for the length of one training; afterwards the model is whole again.

A stage that starts from another's adapter has it merged into the base (`load_policy`), and its own is new: so stages
may differ in rank and targets, nothing has to be told apart while it trains, and a full training may follow an adapter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel

from alignment.policy.adapted import adapt, is_adapted, merge, without_wrapper
from alignment.policy.origin import Origin, require_unchanged
from alignment.policy.settings import AdapterSettings
from alignment.train.settings import FineTuneSettings, PackedSettings


def adapter_of(settings: PackedSettings) -> AdapterSettings | None:
    """The adapter that a stage's settings ask for."""
    return settings.adapter if isinstance(settings, FineTuneSettings) else None


def what_is_trained(
    model: PreTrainedModel,
    settings: AdapterSettings | None,
    origin: Origin | None,
    *,
    seed: int,
    head: str | None = None,
) -> PreTrainedModel:
    """The model, or with settings of an adapter the wrapper around it, of which the adapter (and the head) is trained.

    Args:
        origin: where the model was loaded from.
        seed, head: as `alignment.policy.adapted.adapt`.

    Raises:
        UsageError: the model is not the one that stands on the disk, so that nobody could put the adapter on it again.
        MissingExtra, SettingError: as `adapt`.
    """
    if settings is None:
        return model
    require_unchanged(model, origin)
    return adapt(model, settings, seed=seed, head=head)


def num_trained(model: nn.Module) -> int | None:
    """Numbers that an adapter's training moves; None where there is no adapter."""
    if not is_adapted(model):
        return None
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def make_whole(taught: PreTrainedModel, settings: AdapterSettings | None, saved: Callable[[], PreTrainedModel]) -> None:
    """Merge the adapter into the model that was wrapped, in place; without an adapter there is nothing to do.

    Args:
        saved: reads what was saved, for a base that was put into 4 bits: the adapter belongs on its real weights.
    """
    if settings is None:
        return
    if settings.base_precision == "fp32":
        merge(taught)
        return
    model, device = without_wrapper(taught), next(taught.parameters()).device
    for name, part in saved().named_children():
        setattr(model, name, part.to(device))
    del model.is_loaded_in_4bit, model.peft_config
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
