"""The base class of all settings: typed, frozen, every field described.  No torch.

Each room declares its settings in a `settings.py` beside the code that reads them;
`recipes/load.py` only composes them.
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Bring the fields into the order in which they are declared; pydantic would put all inherited ones first."""
        super().__pydantic_init_subclass__(**kwargs)
        order = [name for block in _blocks(cls) for name in block]
        fields = cls.model_fields
        if order != list(fields):
            ordered = {name: fields[name] for name in order}
            fields.clear()
            fields.update(ordered)
            cls.model_rebuild(force=True)

    def fingerprint_values(self) -> dict[str, Any]:
        """The values that decide a stage's result: every field that is not marked cosmetic.

        Returns:
            Nested plain values (JSON-able), without the cosmetic fields.
        """
        values: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict) and extra.get("cosmetic"):
                continue
            values[name] = _plain(getattr(self, name))
        return values


def _blocks(cls: type[Settings]) -> list[list[str]]:
    """A class's fields in order, by the class that brings them.

    What a class inherits stands before its own, unless it declares one of a base's fields anew: then all of that
    base's stand there.
    """
    if cls is Settings:
        return []
    inherited = _blocks(cls.__bases__[0])
    own: list[str] = []
    for name in inspect.get_annotations(cls):
        block = next((block for block in inherited if name in block), None)
        if block is not None:
            inherited.remove(block)
            own += block
        elif name in cls.model_fields and name not in own:
            own.append(name)
    return [*inherited, own]


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.fingerprint_values()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def setting(default: Any, description: str, *, cosmetic: bool = False, **limits: Any) -> Any:
    """Declare one field: its default (`...` for none), what it does, and its limits.

    Args:
        default: the default value, or `...` where the user must say it.
        description: one line with the unit; shown by `--help` and in the JSON schema.
        cosmetic: True for what cannot change a result (logging cadence; a limit that stops a stage or
            changes nothing, so that a stage that it stopped can go on); kept out of fingerprints.
        limits: pydantic's constraints (`ge`, `gt`, `le`, `lt`, `min_length`, …).
    """
    extra: dict[str, Any] = {"cosmetic": True} if cosmetic else {}
    return Field(default, description=description, json_schema_extra=extra, **limits)
