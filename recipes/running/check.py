"""What `align check` finds out: everything short of training, through the stages' own functions.

Rows, quarantine, token lengths and what the length policy does, duplicates, prompts on both sides,
the tokenizer's fit, and the steps that each stage would take.  What is counted here is counted by the
code that trains, so the figures are those of the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.settings import DataSettings
from alignment.errors import AlignmentError, DataError, TokenizerError
from recipes.reading.schema import Recipe
from recipes.running.section_check import SectionCheck

if TYPE_CHECKING:
    from alignment.data.corpus import Loaded
    from alignment.data.sources import WorldLike
    from alignment.records import Document
    from alignment.text.tokenizer import Tokenizer

_TEXT_SAMPLE = 2_000  # records a section whose pieces are counted for the tokenizer's fit
_TRAINING_CHARACTERS = 5_000_000  # of a tokenizer that is trained only to look


@dataclass(kw_only=True)
class RecipeCheck:
    """Everything that was found out.

    Attributes:
        tokenizer_origin: where the tokenizer came from.
        parameters: of the model; None for a checkpoint that is not here.
        shared: (training section, held-out section, prompts that stand in both).
        problems: what would stop the run.
    """

    sections: list[SectionCheck] = field(default_factory=list)
    tokenizer: Tokenizer | None = None
    tokenizer_origin: str = ""
    parameters: int | None = None
    shared: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(recipe: Recipe, folder: Path, say: Callable[[str], None] = lambda text: None) -> RecipeCheck:
    """Read and count everything that a recipe would train on.

    Args:
        folder: where quarantine files are written.
        say: told what is being done.
    """
    from recipes.running.check_model import count_steps, model_problems

    found = RecipeCheck()
    world = _world(recipe)
    for key, kind, settings in data_sections(recipe):
        say(f"reading {key}")
        found.sections.append(_read(key, kind, settings, recipe.seed, folder, world))
    say("tokenizer")
    try:
        found.tokenizer, found.tokenizer_origin = _tokenizer(recipe, found.sections, world)
    except AlignmentError as error:
        found.problems.append(str(error))
    found.parameters, problems = model_problems(recipe, found.tokenizer)
    found.problems += problems
    for section in found.sections:
        if section.error is not None:
            found.problems.append(f"{section.key}: {section.error}")
        elif found.tokenizer is not None:
            say(f"counting {section.key}")
            try:
                count_steps(recipe, section, found.tokenizer)
            except AlignmentError as error:
                found.problems.append(f"{section.key}: {error}")
            section.pieces = _pieces(section, found.tokenizer)
    found.shared = list(_shared_prompts(found.sections))
    return found


def data_sections(recipe: Recipe) -> Iterator[tuple[str, str, DataSettings]]:
    """Every data set of a recipe: dotted key of the section, kind of record, settings."""
    if recipe.tokenizer.data is not None and recipe.tokenizer.path is None:
        yield "tokenizer", "documents", recipe.tokenizer.data
    if recipe.pretrain is not None:
        yield "pretrain", "documents", recipe.pretrain.data
    if recipe.sft is not None:
        yield "sft", "dialogues", recipe.sft.data
    if recipe.reward is not None:
        yield "reward.helpfulness", "preferences", recipe.reward.helpfulness.data
        yield "reward.safety", "preferences", recipe.reward.safety.data
    if recipe.rlhf is not None:
        yield "rlhf.prompts", "prompts", recipe.rlhf.prompts
        if recipe.rlhf.safety_prompts is not None:
            yield "rlhf.safety_prompts", "prompts", recipe.rlhf.safety_prompts
    if recipe.gatt is not None:
        yield "gatt", "dialogues", recipe.gatt.data


def record_texts(record: Any) -> list[str]:
    """All texts of a record, for counting pieces."""
    if hasattr(record, "text"):
        return [record.text]
    dialogue = getattr(record, "prompt", None)
    dialogue = record if callable(dialogue) or dialogue is None else dialogue
    texts = [turn.content for turn in dialogue.turns]
    texts += [getattr(record, name) for name in ("chosen", "rejected", "answer") if hasattr(record, name)]
    return texts + ([dialogue.system] if dialogue.system else [])


def _read(
    key: str, kind: str, settings: DataSettings, seed: int, folder: Path, world: WorldLike | None
) -> SectionCheck:
    from alignment.data import corpus

    section = SectionCheck(key=key, kind=kind)
    quarantine = folder / f"{key}.jsonl"
    try:
        loaded: Loaded[Any] = getattr(corpus, f"load_{kind}")(settings, seed=seed, quarantine=quarantine, world=world)
        section.report, section.train, section.held_out = loaded.report, loaded.train, loaded.held_out
    except AlignmentError as error:
        section.error = str(error)
    if quarantine.exists():
        with quarantine.open(encoding="utf-8") as file:
            for _, line in zip(range(3), file, strict=False):
                row = json.loads(line)
                section.bad.append(
                    f"{row['file']}:{row['line']}: {row['reason']} {row['detail']}: {row['excerpt'][:80]!r}"
                )
    return section


def _world(recipe: Recipe) -> WorldLike | None:
    if recipe.world is None:
        return None
    from alignment.world import World

    return World(recipe.world)


def _tokenizer(recipe: Recipe, sections: Sequence[SectionCheck], world: WorldLike | None) -> tuple[Tokenizer, str]:
    from alignment.text.tokenizer import Tokenizer, train_tokenizer

    if recipe.tokenizer.path is not None:
        return Tokenizer.load(recipe.tokenizer.path), recipe.tokenizer.path
    if recipe.tokenizer_data is None:
        model = str(recipe.model.path)
        if not Path(model).is_dir():
            raise TokenizerError(
                f"the tokenizer of {model} comes with the checkpoint, which is not here; lengths are not counted"
            )
        return Tokenizer.load(model), model
    by_key = {section.key: section for section in sections}
    documents: Sequence[Document] = by_key["tokenizer" if recipe.tokenizer.data is not None else "pretrain"].train
    texts = [document.text for document in documents]
    if "sft" in by_key:
        from alignment.text.chat import dialogue_text

        texts += [dialogue_text(dialogue) for dialogue in by_key["sft"].train]
    if not texts:
        raise DataError("the tokenizer has no text to train on")
    # every so-many-th text, not the first ones: the dialogues come last and hold the chat format's markers
    every = max(1, -(-sum(map(len, texts)) // _TRAINING_CHARACTERS))
    how = "trained on the data" if every == 1 else f"trained on one text in {every}, the run's will differ a little"
    return train_tokenizer(texts[::every], recipe.tokenizer), f"{how}; thrown away afterwards"


def _pieces(section: SectionCheck, tokenizer: Tokenizer) -> tuple[int, int, int]:
    step = max(1, len(section.train) // _TEXT_SAMPLE)
    texts = [text for record in section.train[::step] for text in record_texts(record)]
    counts: Counter[int] = Counter(token for ids in tokenizer.encode_all(texts) for token in ids)
    bytes_ = sum(count for token, count in counts.items() if tokenizer.is_byte(token))
    return sum(counts.values()), bytes_, counts.get(0, 0)


def _shared_prompts(sections: Sequence[SectionCheck]) -> Iterator[tuple[str, str, int]]:
    """Prompts that one section trains on and another holds out (inside a section the reader drops them)."""
    from alignment.data.identity import prompt_key

    kept = [section for section in sections if section.kind != "documents"]
    trained = {section.key: {prompt_key(record) for record in section.train} for section in kept}
    for held in kept:
        keys = {prompt_key(record) for record in held.held_out}
        for name, prompts in trained.items():
            if both := len(keys & prompts):
                yield name, held.key, both
