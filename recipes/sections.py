"""What no section can see alone: a stage that needs an absent one, versions that do not exist.  No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment.data.settings import SourceSettings
from alignment.settings import Settings
from recipes.reading.schema import Recipe
from recipes.reading.yaml_loader import KeyPath


def section_problems(recipe: Recipe) -> list[tuple[KeyPath, str]]:
    """Every mismatch between a recipe's sections, as (key, sentence)."""
    found: list[tuple[KeyPath, str]] = []

    def need(key: KeyPath, message: str) -> None:
        found.append((key, message))

    has_base = recipe.pretrain is not None or recipe.model.path is not None
    if not has_base:
        need(("model",), "names no path and there is no section pretrain; add `pretrain:` or say model.path")
    if recipe.tokenizer.path is None and recipe.tokenizer_data is None and recipe.model.path is None:
        need(
            ("tokenizer",),
            "has neither path nor data and there is no section pretrain; say tokenizer.path or tokenizer.data",
        )
    if recipe.model.path is not None and recipe.tokenizer.path is None and recipe.tokenizer.data is not None:
        need(
            ("tokenizer", "data"),
            "trains a new tokenizer for the checkpoint in model.path, which has its own; leave it out",
        )
    has_chat = recipe.sft is not None or (recipe.model.path is not None and recipe.pretrain is None)
    for name in ("reward", "rlhf", "gatt"):
        if getattr(recipe, name) is not None and not has_chat:
            need(
                (name,),
                "needs a chat model: add the section sft, or start from a chat checkpoint (model.path, no pretrain)",
            )
    if recipe.rlhf is not None:
        if recipe.reward is None:
            need(("rlhf",), "needs the reward models; add the section reward")
        if recipe.rlhf.ppo_from > recipe.rlhf.versions + 1:
            need(
                ("rlhf", "ppo_from"),
                f"is {recipe.rlhf.ppo_from}; there are {recipe.rlhf.versions} versions, "
                f"{recipe.rlhf.versions + 1} means never",
            )
        if recipe.rlhf.rejection.sft_share > 0 and recipe.sft is None:
            need(("rlhf", "rejection", "sft_share"), "mixes in SFT dialogues; add the section sft or set it to 0")
    if recipe.gatt is not None:
        versions = recipe.rlhf.versions if recipe.rlhf else 0
        if recipe.gatt.after > versions:
            absent = f"there are {versions} versions" if versions else "there is no section rlhf"
            need(("gatt", "after"), f"is {recipe.gatt.after}; {absent}, 0 means the last model")
        if recipe.gatt.sft_share > 0 and recipe.sft is None:
            need(("gatt", "sft_share"), "mixes in SFT dialogues; add the section sft or set it to 0")
    if recipe.world is None:
        for key in _world_sources(recipe, ()):
            need(key, "reads the embedded world; add the section `world: {}`")
    return found


def _world_sources(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, SourceSettings):
        if value.world is not None:
            yield (*path, "world")
    elif isinstance(value, Settings):
        for name in type(value).model_fields:
            yield from _world_sources(getattr(value, name), (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _world_sources(item, (*path, index))
