"""Whether the stages of a run keep prompts apart: what one trains on, no other measures itself by.

No torch, no pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DOCUMENTS, PROMPTS, RecordType
from alignment.errors import DataError
from recipes.stages.judge_checks import Failed

if TYPE_CHECKING:
    from alignment.data.corpus import Loaded
    from alignment.data.settings import DataSettings
    from alignment.data.sources import WorldLike
    from alignment.data.split import Split
    from alignment.world.settings import WorldSettings
    from recipes.stages.apart import Apart
    from recipes.stages.context import StageContext
    from recipes.stages.kind import DataSet


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The prompts of one data set, each as the digest of its text.

    Attributes:
        key: the data set's.
        trained: prompts to train on.
        chosen_by: prompts that a stage chooses by before the end (PPO its best iteration); of prompts alone.
        held_out: all that are not trained on.
        reported: prompts that no stage looks at before the evaluation; of prompts alone.
    """

    key: str
    trained: frozenset[str]
    held_out: frozenset[str]
    chosen_by: frozenset[str] = frozenset()
    reported: frozenset[str] = frozenset()

    @staticmethod
    def of(key: str, records: RecordType[Any], loaded: Loaded[Any]) -> Pool | None:
        """The pool of a data set that was read; documents ask nothing and have none."""
        from alignment.data.identity import prompt_key

        if records is DOCUMENTS:
            return None
        train, held_out, validation, test = (
            frozenset(map(prompt_key, part)) for part in (loaded.train, loaded.held_out, loaded.validation, loaded.test)
        )
        asks = records is PROMPTS
        return Pool(
            key=key,
            trained=train,
            held_out=held_out | test,
            chosen_by=validation if asks else frozenset(),
            reported=test if asks else frozenset(),
        )


def shared_prompts(pools: Sequence[Pool]) -> Iterator[str]:
    """A sentence for every two data sets that share prompts which must be apart."""
    for held, trained in product(pools, pools):
        if both := len(held.held_out & trained.trained):
            yield f"{both:,} prompts that {held.key} holds out are trained on in {trained.key}"
    for reported, choosing in product(pools, pools):
        if both := len(reported.reported & choosing.chosen_by):
            yield (
                f"{both:,} prompts that the evaluation reports on in {reported.key} are chosen by in {choosing.key}: "
                f"PPO's best iteration is the best on them too"
            )


def failed_disjoint(pools: Sequence[Pool]) -> Iterator[Failed]:
    """The same as failed checks."""
    for sentence in shared_prompts(pools):
        yield Failed(name="disjoint", sentence=sentence)


def without_stages(settings: DataSettings) -> DataSettings | None:
    """Without the records that stages are yet to make; None where nothing else is trained on."""
    train, held_out = (tuple(s for s in part if not s.stage) for part in (settings.train, settings.held_out))
    mix = settings.mix
    if mix is not None:
        others = tuple(source for source in mix.sources if not source.stage)
        mix = mix.model_copy(update={"sources": others}) if others else None
    return settings.model_copy(update={"train": train, "held_out": held_out, "mix": mix}) if train else None


@dataclass(frozen=True, kw_only=True)
class PromptPools:
    """What the stages up to the first version read, to be looked at once more; a stage's result does not rest on it.

    What other stages made is not among it: its prompts are those of the section that they were drawn from.

    Attributes:
        sets: each data set with what its stage keeps apart.
        world: the embedded world, where one of them reads it.
    """

    sets: tuple[tuple[DataSet[Any], Apart | None], ...]
    world: WorldSettings | None = None

    @staticmethod
    def of(sets: Sequence[tuple[DataSet[Any], Apart | None]], world: WorldSettings | None) -> PromptPools:
        """Each data set once, without documents and without other stages' records."""
        found: dict[str, tuple[DataSet[Any], Apart | None]] = {}
        for data, apart in sets:
            settings = without_stages(data.settings)
            if data.records is not DOCUMENTS and settings is not None:
                found.setdefault(data.key, (replace(data, settings=settings), apart))
        return PromptPools(sets=tuple(found.values()), world=world)

    def failed(self, stage: StageContext) -> list[Failed]:
        """Read them again and say what is shared, or that it cannot be said."""
        try:
            return [*failed_disjoint([*self._read(stage)])]
        except DataError as error:
            return [Failed(name="disjoint", sentence=f"whether prompts are disjoint cannot be told: {error}")]

    def _read(self, stage: StageContext) -> Iterator[Pool]:
        from alignment.data.corpus import load_records

        seed, world = stage.session.seed, self._open_world(stage)
        opened: dict[int, Split] = {}  # by the identity of what a stage keeps apart
        for data, apart in self.sets:
            if apart is not None and id(apart) not in opened:
                opened[id(apart)] = apart.open(seed)
            loaded = load_records(
                data.records,
                data.settings,
                seed=seed,
                quarantine=None,
                world=world,
                split=opened[id(apart)] if apart is not None else None,
                with_test=data.records is PROMPTS,
            )
            if (pool := Pool.of(data.key, data.records, loaded)) is not None:
                yield pool

    def _open_world(self, stage: StageContext) -> WorldLike | None:
        if self.world is None or stage.world is not None:
            return stage.world
        from alignment.world import open_world

        return open_world(self.world)
