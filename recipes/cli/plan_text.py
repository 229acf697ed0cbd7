"""What `align plan` says of a stage: its size where it is known.  No torch."""

from __future__ import annotations

from typing import Any

from recipes.arithmetic import tokens_a_step
from recipes.plan import PlannedStage
from recipes.reading.schema import Recipe


def size_of_training(recipe: Recipe, stage: PlannedStage) -> str:
    """Batch, steps and tokens of a stage, as far as the settings alone say."""
    if stage.kind == "pretrain" and recipe.pretrain is not None:
        return _packed(recipe.pretrain)
    if stage.kind == "sft" and recipe.sft is not None:
        return _packed(recipe.sft)
    if stage.kind == "gatt" and recipe.gatt is not None:
        return f"{recipe.gatt.num_dialogues:,} dialogues of {recipe.gatt.turns} turns; {_packed(recipe.gatt)}"
    if stage.kind == "reward" and recipe.reward is not None:
        settings = getattr(recipe.reward, str(stage.role))
        return f"{settings.batch_size:,} pairs a step, {_length(settings)}"
    if recipe.rlhf is None:
        return ""
    if stage.kind == "rejection":
        rejection = recipe.rlhf.rejection
        prompts = f"{rejection.prompts_per_version:,}" if rejection.prompts_per_version else "all"
        return f"{prompts} prompts × {rejection.samples_per_prompt} answers; {_packed(rejection)}"
    if stage.kind == "ppo":
        ppo = recipe.rlhf.ppo
        answers = ppo.iterations * ppo.batch_size
        limit = answers * ppo.sampling.max_new_tokens
        return f"{ppo.iterations:,} iterations × {ppo.batch_size:,} answers (at most {limit:,} new tokens)"
    return ""


def _packed(settings: Any) -> str:
    tokens = tokens_a_step(settings)
    return f"{settings.batch_size:,} forests a step ({tokens:,} tokens), {_length(settings)}"


def _length(settings: Any) -> str:
    if settings.max_steps is None:
        return f"{settings.epochs:g} epochs"
    tokens = tokens_a_step(settings)
    total = f" (at most {tokens * settings.max_steps:,} tokens)" if tokens is not None else ""
    return f"at most {settings.max_steps:,} steps{total}"
