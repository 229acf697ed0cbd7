"""What `align check` finds out: everything short of training, through the stages' own functions.

Rows, quarantine, token lengths and what the length policy does, duplicates, prompts on both sides,
the tokenizer's fit, and the steps that each stage would take.  What is counted here is counted by the
code that trains, so the figures are those of the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import PROMPTS
from alignment.errors import AlignmentError, CheckpointError, DataError, MissingExtra, SettingError, TokenizerError
from alignment.records import Document
from alignment.train.packages import require_parallel_packages
from alignment.train.tracking import require_loggers
from recipes.adapters import require_packages
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.before_rlhf import before_rlhf
from recipes.running.inputs import missing_inputs, name_a_folder, unreadable_inputs, with_its_place
from recipes.stages.apart import Apart
from recipes.stages.disjoint import Pool, without_stages
from recipes.stages.kind import DataSet, Lens, Makes, PlannedStage, Prepared

if TYPE_CHECKING:
    from alignment.data.corpus import DataReport
    from alignment.data.sources import WorldLike
    from alignment.data.split import Split
    from alignment.text.tokenizer import Tokenizer

_TEXT_SAMPLE = 2_000  # records a section whose pieces are counted for the tokenizer's fit
_TRAINING_CHARACTERS = 5_000_000  # of a tokenizer that is trained only to look


@dataclass(kw_only=True)
class DataCheck:
    """What one data set came to.

    Attributes:
        key: the recipe's dotted key ("sft", "reward.safety", "rlhf.prompts").
        kind: documents, dialogues, preferences or prompts.
        report: the reader's own report; None if it failed.
        error: why the data cannot be used.
        bad: some of the rows set aside, as text.
        train, held_out: the records; those of the test part are held out too.
        prepared: what the stage would do with them; None where no stage says or nothing could be counted.
        pieces: pieces counted for the tokenizer's fit: all, byte pieces, unknown.
        pool: its prompts; None of documents, or if it failed.
    """

    key: str
    kind: str
    report: DataReport | None = None
    error: str | None = None
    bad: list[str] = field(default_factory=list)
    train: Sequence[Any] = ()
    held_out: Sequence[Any] = ()
    prepared: Prepared | None = None
    pieces: tuple[int, int, int] = (0, 0, 0)
    pool: Pool | None = None

    @property
    def over(self) -> int:
        """Training records longer than the context."""
        return sum(n > self.prepared.context for n in self.prepared.lengths) if self.prepared is not None else 0


@dataclass(kw_only=True)
class RecipeCheck:
    """Everything that was found out.

    Attributes:
        tokenizer_origin: where the tokenizer came from.
        parameters: of the model; None for a checkpoint that is not here.
        doubts: stages that could not learn, by what is known beforehand.
        problems: what would stop the run.
    """

    sections: list[DataCheck] = field(default_factory=list)
    tokenizer: Tokenizer | None = None
    tokenizer_origin: str = ""
    parameters: int | None = None
    doubts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(recipe: Recipe, folder: Path, say: Callable[[str], None] = lambda text: None) -> RecipeCheck:
    """Read and count everything that a recipe would train on.

    Args:
        folder: where quarantine files are written.
        say: told what is being done.
    """
    found, plan = RecipeCheck(), stages_of(recipe)
    world = _world(recipe)
    opened: dict[int, Split] = {}  # by the identity of what a stage keeps apart
    for data, apart in data_sets(plan):
        say(f"reading {data.key}")
        found.sections.append(_read(data, apart, opened, recipe.seed, folder, world))
    missing = missing_inputs(recipe, plan)
    found.problems += map(str, missing)  # every missing file, not the first of each section
    found.problems += map(str, unreadable_inputs(recipe, plan))
    found.problems += [
        f"{section.key}: {section.error}"
        for section in found.sections
        if section.error is not None and not any(problem.message in section.error for problem in missing)
    ]
    try:
        require_loggers(recipe.track)
    except MissingExtra as error:
        found.problems.append(f"track: {error}")
    try:
        require_packages(recipe, plan)
        require_parallel_packages(recipe.compute)
    except MissingExtra as error:
        found.problems.append(f"adapter: {error}")
    say("the tokenizer")
    try:
        found.tokenizer, found.tokenizer_origin = _tokenizer(recipe, plan, found.sections)
        found.parameters, positions = _model(recipe, found.tokenizer)
    except AlignmentError as error:
        found.problems.append(str(error))
        positions = None
    if found.tokenizer is not None:
        _prepare(found, plan, found.tokenizer, positions, recipe, say)
    told, stopping = before_rlhf(recipe, plan, [s.pool for s in found.sections if s.pool is not None])
    found.doubts += told
    found.problems += stopping
    return found


def data_sets(plan: Sequence[PlannedStage]) -> list[tuple[DataSet[Any], Apart | None]]:
    """Every data set of a plan, each once, as far as it is here before the run, and what its stage keeps apart."""
    found: dict[str, tuple[DataSet[Any], Apart | None]] = {}
    for stage in plan:
        for data in stage.inputs.data():
            if (here := without_stages(data.settings)) is not None:
                found.setdefault(data.key, (replace(data, settings=here), stage.inputs.apart))
    return list(found.values())


def _prepare(
    found: RecipeCheck,
    plan: Sequence[PlannedStage],
    tokenizer: Tokenizer,
    positions: int | None,
    recipe: Recipe,
    say: Callable[[str], None],
) -> None:
    """Let every stage count what it would do with its data; a data set is told by the first stage that does."""
    usable = {section.key: section for section in found.sections if section.error is None}
    lens = Lens(tokenizer=tokenizer, positions=positions, seed=recipe.seed, records=lambda data: usable[data.key].train)
    for stage in plan:
        keys = [data.key for data in stage.inputs.data()]
        waiting = [key for key in keys if key in usable and usable[key].prepared is None]
        if not waiting or not usable.keys() >= set(keys):
            continue
        say(f"counting {', '.join(waiting)}")
        try:
            for prepared in stage.kind.prepare(stage.inputs, lens):
                section = usable[prepared.key]
                if section.prepared is None:
                    if any(s.stage for data in stage.inputs.data() for s in data.settings.sources):
                        prepared = replace(prepared, steps=None)  # more records are yet to come
                    section.prepared = prepared
                    known = {"steps": prepared.steps} if prepared.steps is not None else {}
                    found.doubts += [f"{stage.name}: {doubt}" for doubt in stage.kind.doubts(stage.inputs, known)]
                    if prepared.asked is not None:
                        key, context = prepared.asked
                        found.problems.append(
                            f"{key} is {context:,}; the model is built for model.context_length {positions:,}; "
                            f"longer sequences are cut to that"
                        )
        except SettingError as error:
            found.problems.append(str(with_its_place(error, stage.inputs.settings_key, recipe)))
        except AlignmentError as error:
            found.problems.append(f"{waiting[0]}: {error}")
    for section in usable.values():
        section.pieces = _pieces(section, tokenizer)


def _model(recipe: Recipe, tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    """Parameters and positions; None where the checkpoint is not here to ask.

    Raises:
        TokenizerError: the checkpoint's vocabulary is not the tokenizer's.
        CheckpointError: its configuration cannot be read.
    """
    if recipe.model.path is None:
        return recipe.model.num_parameters(tokenizer.vocab_size), recipe.model.context_length
    config = Path(recipe.model.path) / "config.json"
    if not config.is_file():
        return None, None
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        vocab_size, positions = int(values["vocab_size"]), values.get("max_position_embeddings")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{config} is no model configuration ({type(error).__name__}); the checkpoint is damaged"
        ) from None
    tokenizer.require_fit(vocab_size, str(recipe.model.path))
    return None, positions if isinstance(positions, int) else None


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
    data: DataSet[Any], apart: Apart | None, opened: dict[int, Split], seed: int, folder: Path, world: WorldLike | None
) -> DataCheck:
    from alignment.data.corpus import load_records

    section = DataCheck(key=data.key, kind=data.records.name)
    quarantine = folder / f"{data.key}.jsonl"
    try:
        if apart is not None and id(apart) not in opened:
            opened[id(apart)] = apart.open(seed)
        split = opened[id(apart)] if apart is not None else None
        loaded = load_records(
            data.records,
            data.settings,
            seed=seed,
            quarantine=quarantine,
            world=world,
            split=split,
            with_test=data.records is PROMPTS,
        )
        section.pool = Pool.of(data.key, data.records, loaded)
        section.report, section.train = loaded.report, loaded.train
        section.held_out = [*loaded.held_out, *loaded.test]
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
    from alignment.world import open_world

    return open_world(recipe.world)


def _tokenizer(recipe: Recipe, plan: Sequence[PlannedStage], sections: Sequence[DataCheck]) -> tuple[Tokenizer, str]:
    """The tokenizer that the run would have, and where it is from; a trained one is thrown away afterwards."""
    from alignment.text.chat import dialogue_text
    from alignment.text.tokenizer import Tokenizer, train_tokenizer

    if recipe.tokenizer.path is not None:
        return Tokenizer.load(recipe.tokenizer.path), recipe.tokenizer.path
    if recipe.tokenizer_data is None:
        model = str(recipe.model.path)
        if not Path(model).is_dir():
            raise TokenizerError(
                f"the tokenizer of {model} comes with the checkpoint, which is not here: lengths are not counted; "
                f"{name_a_folder(recipe, model)}"
            )
        from alignment.policy.policy import load_tokenizer

        return load_tokenizer(model), model
    stage = next(stage for stage in plan if stage.makes(Makes.TOKENIZER))
    by_key = {section.key: section for section in sections}
    texts: list[str] = []
    for data in stage.inputs.data():
        records = by_key[data.key].train
        texts += [record.text if isinstance(record, Document) else dialogue_text(record) for record in records]
    if not texts:
        raise DataError("the tokenizer has no text to train on")
    # every so-many-th text, not the first ones: the dialogues come last and hold the chat format's markers
    every = max(1, -(-sum(map(len, texts)) // _TRAINING_CHARACTERS))
    how = "trained on the data" if every == 1 else f"trained on one text in {every}, the run's will differ a little"
    return train_tokenizer(texts[::every], recipe.tokenizer), f"{how}; thrown away afterwards"


def _pieces(section: DataCheck, tokenizer: Tokenizer) -> tuple[int, int, int]:
    step = max(1, len(section.train) // _TEXT_SAMPLE)
    texts = [text for record in section.train[::step] for text in record_texts(record)]
    counts: Counter[int] = Counter(token for ids in tokenizer.encode_all(texts) for token in ids)
    bytes_ = sum(count for token, count in counts.items() if tokenizer.is_byte(token))
    return sum(counts.values()), bytes_, counts.get(0, 0)
