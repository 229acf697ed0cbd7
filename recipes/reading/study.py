"""The schema of a study: one recipe, named variants of it, and seeds.  No torch."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator, model_validator

from alignment.settings import Settings, setting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")


class StudySettings(Settings):
    """One recipe run in every variant with every seed."""

    recipe: str = setting(..., "a shipped recipe's name, or a YAML file", min_length=1)
    description: str = setting("", "what the study asks; shown on its page")
    out: str | None = setting(None, "the study's folder; none: runs/<the study's name>", min_length=1)
    seeds: tuple[int, ...] = setting(
        (0,), "each sets `seed`, and `world.seed` where the recipe has a world", min_length=1
    )
    until: str | None = setting(None, "the last stage or kind that every member runs; none: all")
    variants: dict[str, dict[str, Any]] = setting(
        {"base": {}}, "name -> settings over the recipe's, by dotted key; the first is what the others are held against"
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds must be different and not negative, were {list(seeds)}")
        return seeds

    @model_validator(mode="after")
    def _named(self) -> StudySettings:
        if not self.variants:
            raise ValueError("variants is empty; leave it out for the recipe as it is")
        for name in self.variants:
            if not _NAME.fullmatch(name):
                raise ValueError(f"variants.{name[:60]}: a name is of letters, digits, '.', '_' and '-', and short")
        return self
