"""Ghost Attention: instructions kept over many turns (Llama 2 paper, 3.3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatt.constraints import builtin_constraints as builtin_constraints
    from gatt.evaluate import consistency_by_turn as consistency_by_turn
    from gatt.kinds import kind_constraints as kind_constraints
    from gatt.settings import GattSettings as GattSettings
    from gatt.synthesize import synthesize_gatt as synthesize_gatt
    from gatt.train import train_gatt as train_gatt

_HOMES = {
    "synthesize_gatt": "gatt.synthesize",
    "train_gatt": "gatt.train",
    "consistency_by_turn": "gatt.evaluate",
    "GattSettings": "gatt.settings",
    "builtin_constraints": "gatt.constraints",
    "kind_constraints": "gatt.kinds",
}
__all__ = [
    "GattSettings",
    "builtin_constraints",
    "consistency_by_turn",
    "kind_constraints",
    "synthesize_gatt",
    "train_gatt",
]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that importing the package stays fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
