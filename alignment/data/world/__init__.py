"""The embedded world: a seeded town whose truth is known exactly (see `docs/world.md`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.data.world.annotators import Annotators, agreement
    from alignment.data.world.export import write_world
    from alignment.data.world.gold import GoldJudge
    from alignment.data.world.settings import WorldSettings
    from alignment.data.world.world import World

_HOMES = {
    "Annotators": "annotators",
    "GoldJudge": "gold",
    "World": "world",
    "WorldSettings": "settings",
    "agreement": "annotators",
    "write_world": "export",
}
__all__ = ["Annotators", "GoldJudge", "World", "WorldSettings", "agreement", "write_world"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
