"""The model's part of `align check`: does it fit the tokenizer, how many steps does each stage take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import TokenizerError
from recipes.reading.schema import Recipe

if TYPE_CHECKING:
    from alignment.text.tokenizer import Tokenizer
    from recipes.running.section_check import SectionCheck


def model_problems(recipe: Recipe, tokenizer: Tokenizer | None) -> tuple[int | None, list[str]]:
    """Parameters (None where they are not known) and what does not fit."""
    problems = []
    for key, context in _contexts(recipe):
        if recipe.model.path is None and context > recipe.model.context_length:
            problems.append(
                f"{key} is {context:,}; the model is built for model.context_length {recipe.model.context_length:,}; "
                f"longer sequences are cut to that"
            )
    if recipe.model.path is None:
        vocab_size = tokenizer.vocab_size if tokenizer is not None else recipe.tokenizer.vocab_size
        return recipe.model.num_parameters(vocab_size), problems
    config = Path(recipe.model.path) / "config.json"
    if config.is_file() and tokenizer is not None:
        try:
            vocab_size = int(json.loads(config.read_text(encoding="utf-8"))["vocab_size"])
            tokenizer.require_fit(vocab_size, str(recipe.model.path))
        except TokenizerError as error:
            problems.append(str(error))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            problems.append(f"{config} is no model configuration ({type(error).__name__}); the checkpoint is damaged")
    return None, problems


def count_steps(recipe: Recipe, section: SectionCheck, tokenizer: Tokenizer) -> None:
    """Fill in a section's lengths, what its length policy does and its steps, by the stage's own functions."""
    if section.key == "pretrain":
        _pretrain(recipe, section, tokenizer)
    elif section.key == "sft":
        _sft(recipe, section, tokenizer)
    elif section.key.startswith("reward."):
        _reward(recipe, section, tokenizer)
    elif section.key.startswith("rlhf."):
        _prompts(recipe, section, tokenizer)
    elif section.key == "gatt":
        from alignment.text.chat import render_dialogue

        assert recipe.gatt is not None  # the section comes from it
        section.context = _within(recipe, recipe.gatt.context_length)
        section.lengths = [len(render_dialogue(dialogue, tokenizer).token_ids) for dialogue in section.train]


def _pretrain(recipe: Recipe, section: SectionCheck, tokenizer: Tokenizer) -> None:
    from alignment.batch.render import document_trees
    from alignment.train.language_model import packed_steps

    settings = recipe.pretrain
    assert settings is not None  # the section comes from it
    section.context = context = _within(recipe, settings.context_length)
    encoded = tokenizer.encode_all([document.text for document in section.train])
    section.lengths = [len(ids) + 2 for ids in encoded]  # BOS and EOS
    trees = document_trees(section.train, tokenizer, context)
    section.policy = {"pieces after splitting": len(trees)} if section.over else {}
    steps = packed_steps(trees, settings, context, seed=recipe.seed, name="pretrain")
    section.steps = steps.num_steps


def _sft(recipe: Recipe, section: SectionCheck, tokenizer: Tokenizer) -> None:
    from alignment.batch.render import dialogue_trees
    from alignment.text.chat import render_dialogue
    from alignment.train.language_model import packed_steps

    settings = recipe.sft
    assert settings is not None  # the section comes from it
    section.context = context = _within(recipe, settings.context_length)
    section.lengths = [len(render_dialogue(dialogue, tokenizer).token_ids) for dialogue in section.train]
    trees, counts = dialogue_trees(section.train, tokenizer, context, settings.too_long)
    section.policy = {name: count for name, count in counts.items() if count}
    section.steps = packed_steps(trees, settings, context, seed=recipe.seed, name="sft").num_steps


def _reward(recipe: Recipe, section: SectionCheck, tokenizer: Tokenizer) -> None:
    from alignment.records import Preference
    from alignment.text.chat import answer_ids, render_prompt

    assert recipe.reward is not None  # the section comes from it
    settings = getattr(recipe.reward, section.key.partition(".")[2])
    section.context = _within(recipe, settings.context_length)
    for record in section.train:
        answers = [record.chosen, record.rejected] if isinstance(record, Preference) else [record.answer]
        longest = max(len(answer_ids(answer, tokenizer)) for answer in answers)
        section.lengths.append(len(render_prompt(record.prompt, tokenizer)) + longest)
    kept = len(section.lengths) - section.over
    section.policy = {"left out": section.over} if section.over else {}
    steps = -(-max(1, round(kept * settings.epochs)) // settings.batch_size) if kept else 0
    section.steps = min(steps, settings.max_steps or steps)


def _prompts(recipe: Recipe, section: SectionCheck, tokenizer: Tokenizer) -> None:
    from alignment.text.chat import render_prompt

    assert recipe.rlhf is not None  # the section comes from it
    # a prompt must leave room for the first tokens of an answer (as `alignment.generate.draw` asks)
    room = min(recipe.rlhf.rejection.sampling.max_new_tokens, 8)
    section.context = _within(recipe, recipe.rlhf.rejection.context_length) - room
    section.lengths = [len(render_prompt(prompt, tokenizer)) for prompt in section.train]
    section.policy = {"left out": section.over} if section.over else {}


def _within(recipe: Recipe, context: int) -> int:
    return context if recipe.model.path is not None else min(context, recipe.model.context_length)


def _contexts(recipe: Recipe) -> list[tuple[str, int]]:
    found = []
    for name in ("pretrain", "sft", "gatt"):
        section = getattr(recipe, name)
        if section is not None:
            found.append((f"{name}.context_length", section.context_length))
    if recipe.reward is not None:
        found += [
            (f"reward.{role}.context_length", getattr(recipe.reward, role).context_length)
            for role in ("helpfulness", "safety")
        ]
    return found
