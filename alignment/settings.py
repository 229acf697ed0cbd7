"""The base class of all settings: typed, frozen, every field described.  No torch.

Each room declares its settings in a `settings.py` beside the code that reads them;
`recipes/load.py` only composes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class NamesFile:
    """Marks a field whose text names a local file, glob or folder.

    Attributes:
        names: whether a text does; a hub's name does not.
    """

    names: Callable[[str], bool]


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are refused.

    A group with other defaults in one place than elsewhere is a subclass of its own there, so that a key that is left
    out has that place's default.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    def fingerprint_values(self) -> dict[str, Any]:
        """The values that decide a stage's result: every field that is not marked cosmetic.

        A field that was added after a release is left out while it holds its default, so that runs from before it
        stand.

        Returns:
            Nested plain values (JSON-able), without those fields.
        """
        values: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            marks = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            value = _plain(getattr(self, name))
            if marks.get("cosmetic") or (marks.get("added") and value == _plain(info.default)):
                continue
            values[name] = value
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.fingerprint_values()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def setting(
    default: Any,
    description: str,
    *,
    cosmetic: bool = False,
    added: bool = False,
    file: Callable[[str], bool] | bool = False,
    **limits: Any,
) -> Any:
    """Declare one field: its default (`...` for none), what it does, and its limits.

    Args:
        default: the default value, or `...` where the user must say it.
        description: one line with the unit; shown by `--help` and in the JSON schema.
        cosmetic: True for what cannot change a result (logging cadence; a limit that stops a stage or
            changes nothing, so that a stage that it stopped can go on); kept out of fingerprints.
        added: True for what came after a release; kept out of fingerprints while it holds its default, which must
            do what was done before the field was there.
        file: True for a text that names a local file, glob or folder; or what decides whether a text does.  Such
            files are digested, and missing ones told before anything runs.
        limits: pydantic's constraints (`ge`, `gt`, `le`, `lt`, `min_length`, …).

    Raises:
        TypeError: an added field without a default: older recipes could not be read.
    """
    if added and default is ...:
        raise TypeError(f"an added setting needs a default ({description})")
    extra: dict[str, Any] = {name: True for name, marked in (("cosmetic", cosmetic), ("added", added)) if marked}
    field = Field(default, description=description, json_schema_extra=extra, **limits)
    if file:
        field.metadata.append(NamesFile(file if callable(file) else bool))
    return field
