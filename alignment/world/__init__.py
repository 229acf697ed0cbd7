"""The embedded world: a seeded town whose truth is known exactly (see `docs/world.md`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.world.export import write_world
    from alignment.world.judge.annotators import Annotators, agreement
    from alignment.world.judge.gold import GoldJudge
    from alignment.world.settings import WorldSettings
    from alignment.world.world import World, open_world

_HOMES = {
    "Annotators": "judge.annotators",
    "GoldJudge": "judge.gold",
    "World": "world",
    "WorldSettings": "settings",
    "agreement": "judge.annotators",
    "open_world": "world",
    "write_world": "export",
}
__all__ = ["Annotators", "GoldJudge", "World", "WorldSettings", "agreement", "open_world", "write_world"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
