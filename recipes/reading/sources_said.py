"""Where a recipe's settings name sources, and what the sources say.  No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment.data.settings import SourceSettings
from alignment.settings import Settings
from alignment.strict_yaml import KeyPath


def sources_said(value: Any, path: KeyPath, field: str) -> dict[KeyPath, str]:
    """Below a settings value, every source that says this field: its key -> what it says."""
    said = ((where, getattr(source, field)) for where, source in source_settings(value, path))
    return {(*where, field): text for where, text in said if text is not None}


def source_settings(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, SourceSettings]]:
    """Below a settings value, every source with its place."""
    if isinstance(value, SourceSettings):
        yield path, value
    elif isinstance(value, Settings):
        for name in type(value).model_fields:
            yield from source_settings(getattr(value, name), (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from source_settings(item, (*path, index))
