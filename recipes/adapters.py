"""The adapters that a recipe asks for: by section, what they need, and what they cannot adapt.  No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignment.policy.packages import require_adapter_packages
from alignment.policy.settings import PROJECTIONS, AdapterSettings
from alignment.settings import Settings
from alignment.strict_yaml import KeyPath, dotted
from recipes.reading.schema import Recipe
from recipes.stages.kind import PlannedStage


def adapters_of(recipe: Recipe) -> dict[KeyPath, AdapterSettings]:
    """Every adapter: the key of its section -> its settings."""
    return dict(_below(recipe, ()))


def _below(settings: Settings, path: KeyPath) -> Iterator[tuple[KeyPath, AdapterSettings]]:
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        if isinstance(section, AdapterSettings):
            yield path, section
        elif isinstance(section, Settings):
            yield from _below(section, (*path, name))


def adapter_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Layers that the core has not; what a checkpoint has is told when it is read."""
    if recipe.model.path is not None:
        return
    for key, adapter in adapters_of(recipe).items():
        if adapter.targets == "all-linear":
            continue
        for i, name in enumerate(adapter.targets):
            if name not in PROJECTIONS:
                yield (
                    (*key, "adapter", "targets", i),
                    f"is {name!r}, no linear layer of the model; right is {', '.join(PROJECTIONS)}",
                )


def require_packages(recipe: Recipe, stages: Sequence[PlannedStage]) -> None:
    """See that what the adapters of these stages need is installed; imports none.

    Raises:
        MissingExtra: naming the first package that is not, and the extra that brings it.
    """
    read = {stage.inputs.settings_key for stage in stages}
    for key, adapter in adapters_of(recipe).items():
        if dotted(key) in read:
            require_adapter_packages(adapter)
