"""What a kind of stage is, what a stage is handed, and what a planned stage is.  No torch, no pydantic.

One sentence carries the whole: the plan hands each stage its typed inputs, and the stage sees nothing else; what it
was handed is its fingerprint.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from alignment.data.record_types import RecordType
    from alignment.data.settings import DataSettings
    from alignment.model.settings import ModelSettings
    from alignment.report.blocks import Opening, Section
    from alignment.text.tokenizer import Tokenizer
    from alignment.world.settings import WorldSettings
    from recipes.stages.apart import Apart
    from recipes.stages.context import StageContext
    from recipes.stages.needs import Needs

In = TypeVar("In", bound="StageInputs")  # a kind's inputs
R = TypeVar("R")  # a kind's result, or a data set's record
Reads = Mapping[str, Any]  # the recipe's dotted key -> section or value


class Makes(enum.Enum):
    """What other stages, `align chat` and the page may take from a finished stage."""

    TOKENIZER = "tokenizer"
    POLICY = "policy"
    CONTROL = "control"  # a model to compare with, which no stage goes on from
    REWARD_MODEL = "reward model"
    RECORDS = "records"


class Surrounding(enum.Enum):
    """What stands in every stage's fingerprint beside its inputs, unless its kind says that it reads none of it."""

    SEED = "seed"
    COMPUTE = "compute"
    VERSIONS = "versions"


class Processes(enum.Enum):
    """What the processes of one launch do in a stage."""

    ALL = "all of them train, each on its share"
    FIRST = "the first works, the others wait"
    ONE = "it cannot be shared by several yet"


@dataclass(frozen=True, kw_only=True)
class DataSet(Generic[R]):
    """One data set that a stage reads.

    Attributes:
        key: the recipe's dotted key of the section that it belongs to ("sft", "rlhf.prompts").
        settings: its sources.
        records: what its rows become.
        campaign: tags its records ("helpfulness", "safety"); None leaves them untagged.
    """

    key: str
    settings: DataSettings
    records: RecordType[R]
    campaign: str | None = None


@dataclass(frozen=True, kw_only=True)
class StageInputs:
    """The base of every stage's inputs: all that the stage reads of the recipe.

    Attributes:
        world: the embedded world, where the stage reads its records or judges by it.
        apart: what the run keeps from training, where the stage reads files.
        anew: the stage does for a later version of RLHF what one of its kind did for the first.
    """

    world: WorldSettings | None = None
    apart: Apart | None = None
    anew: bool = False

    # keys below `reads` that the plan has read already: they say where the stage stands, and its parents tell that
    told_by_parents = frozenset[str]()
    # the dotted key of the settings that its function is handed, for errors that name a key below it
    settings_key = ""

    def reads(self) -> Reads:
        """What the stage's result rests on of the recipe; the fingerprint's settings."""
        return {}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The data sets that it reads."""
        return ()

    def code(self) -> Mapping[str, str]:
        """Functions of the user's that it runs: the recipe's dotted key -> module:name."""
        return {}

    def constraints(self) -> Mapping[str, str]:
        """Where the instructions that it reads come from: the recipe's dotted key -> the source."""
        return {}

    def facts(self) -> Mapping[str, str]:
        """What the page's overview says of it."""
        return {}

    def annotators(self) -> tuple[str, ...]:
        """Who compares answers in it."""
        return ()


@dataclass(frozen=True, kw_only=True)
class FromPolicy(StageInputs):
    """Inputs of a stage that starts from a policy.

    Attributes:
        model: the recipe's section, where the stage starts from `model.path` or fresh weights.
        gradient_checkpointing: of the section, where the stage starts from another one's model.
    """

    model: ModelSettings | None = None
    gradient_checkpointing: bool = False

    def reads(self) -> Reads:
        """The section, or the one field of it that holds for every stage (left out while it is off)."""
        if self.model is not None:
            return {"model": self.model}
        return {"model.gradient_checkpointing": True} if self.gradient_checkpointing else {}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a stage is, as far as its settings alone say.

    Attributes:
        first: what comes before the training ("400 prompts × 8 answers").
        unit: what a step takes ("forests", "pairs").
        batch_size: of them a step.
        tokens_per_step: at most; None where a step is no fixed number of tokens.
        epochs, max_steps: how long; `max_steps` wins.
    """

    first: str = ""
    unit: str = ""
    batch_size: int = 0
    tokens_per_step: int | None = None
    epochs: float = 0.0
    max_steps: int | None = None

    def __str__(self) -> str:
        """`400 prompts × 8 answers; 1 forests per step (2,048 tokens), 2.2 epochs`."""
        if not self.unit:
            return self.first
        tokens = f" ({self.tokens_per_step:,} tokens)" if self.tokens_per_step is not None else ""
        training = f"{self.batch_size:,} {self.unit} per step{tokens}, {self._length()}"
        return f"{self.first}; {training}" if self.first else training

    def _length(self) -> str:
        if self.max_steps is None:
            return f"{self.epochs:g} epochs"
        if self.tokens_per_step is None:
            return f"at most {self.max_steps:,} steps"
        return f"at most {self.max_steps:,} steps (at most {self.tokens_per_step * self.max_steps:,} tokens)"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a stage would do with a data set, counted by the functions that the stage itself calls.

    Attributes:
        key: the data set's.
        lengths: tokens of each training record.
        context: the longest that the stage takes; `lengths` over it meet the policy.
        policy: what happens to longer ones: name -> how many.
        steps: optimizer steps, where data alone say.
        asked: the key and value of a setting that asks for more than the model holds; None where none does.
    """

    key: str
    lengths: tuple[int, ...]
    context: int
    policy: Mapping[str, int]
    steps: int | None = None
    asked: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Through what `align check` lets a stage look at its data.

    Attributes:
        tokenizer: the run's.
        positions: the most that the model holds; None where the checkpoint is not here.
        seed: the run's.
        records: (data set) -> its training records.
    """

    tokenizer: Tokenizer
    positions: int | None
    seed: int
    records: Callable[[DataSet[Any]], Sequence[Any]]

    def within(self, context_length: int) -> int:
        """A context as the model holds it."""
        return context_length if self.positions is None else min(context_length, self.positions)

    def too_much(self, key: str, asked: int | None) -> tuple[str, int] | None:
        """The setting, where it was given (else None) and asks for more than the model holds."""
        return (key, asked) if asked is not None and self.within(asked) < asked else None


def _unknown_size(inputs: Any) -> Size:
    return Size()


def _no_needs(inputs: Any) -> Needs | None:
    return None


def _nothing_prepared(inputs: Any, lens: Lens) -> tuple[Prepared, ...]:
    return ()


def _no_doubts(inputs: Any, result: Mapping[str, Any]) -> tuple[str, ...]:
    return ()


def _stands(run: Path, result: Any) -> bool:
    return True


def _no_figures(folder: Path) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class StageKind(Generic[In, R]):
    """A kind of stage: one line in the literal table.

    Attributes:
        name: the verb of the command line, the kind in `stage.json`.
        does: one line, the verb's help.
        run: gathers what the inputs name, then calls one public function of a package.
        section: (inputs, folder, stage's name, result) -> its chapter of the page; None: the page says nothing of it.
        size: what `align plan` says of it.
        needs: of memory and computing, of which `align plan` makes bytes; None where its settings do not say.
        prepare: what `align check` counts, by the functions that the run calls.
        opening: (inputs, folder) -> what a finished stage gives to the top of the page: its sentence, figure and
            cards; a kind that has one has its chapter first.
        figures: what a study compares of a finished stage's folder; where it is empty, the result's own numbers.
        doubts: (inputs, result, or as much of it as is known before) -> signs that the stage cannot have learnt, as
            sentences for the terminal, `align check` and the page.
        stands: (run, result) -> whether what the stage left outside its own folder is still there.
        shown: entries of its result; the first that is there is the one figure that a table shows, unless the result
            brings a `headline`.
        makes: what others may take from it.
        surroundings: which of seed, compute settings and versions it rests on.
        processes: what several processes of one launch do in it.
        only: values of the verb's `--only`: the stage `NAME-VALUE` alone.
        revision: raised by the commit that changes this kind's results, so that finished runs are not taken for equal.
    """

    name: str
    does: str
    run: Callable[[In, StageContext], R]
    section: Callable[[In, Path, str, Mapping[str, Any]], Section] | None = None
    size: Callable[[In], Size] = _unknown_size
    needs: Callable[[In], Needs | None] = _no_needs
    prepare: Callable[[In, Lens], tuple[Prepared, ...]] = _nothing_prepared
    opening: Callable[[In, Path], Opening] | None = None
    figures: Callable[[Path], Mapping[str, float]] = _no_figures
    doubts: Callable[[In, Mapping[str, Any]], tuple[str, ...]] = _no_doubts
    stands: Callable[[Path, Mapping[str, Any]], bool] = _stands
    shown: tuple[str, ...] = ()
    makes: frozenset[Makes] = frozenset()
    surroundings: frozenset[Surrounding] = frozenset(Surrounding)
    processes: Processes = Processes.FIRST
    only: tuple[str, ...] = ()
    revision: int = 1

    def headline(self, result: Mapping[str, Any]) -> str:
        """The one figure of a result that a table shows; "" if it holds none."""
        if isinstance(said := result.get("headline"), str):
            return said
        for name in (*self.shown, *result):
            value = result.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}"
        return ""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a run.

    Attributes:
        name: unique in the run ("rlhf-v2").
        kind: what does it.
        inputs: all that it is handed.
        number: 1-based place in the plan.
        parents: names of the stages whose folders it reads.
        starts_from: the stage whose model it starts from; None: `model.path`, or fresh weights.
        tokenizer: the stage whose tokenizer holds for it.
    """

    name: str
    kind: StageKind[Any, Any]
    inputs: StageInputs
    number: int
    parents: tuple[str, ...] = ()
    starts_from: str | None = None
    tokenizer: str | None = None

    @property
    def folder(self) -> str:
        """Its folder's name in the run."""
        return f"{self.number:02d}-{self.name}"

    @property
    def revision(self) -> int:
        """Its kind's, one more where it reads comparisons of files: their reading has changed, a town's has not."""
        return self.kind.revision + (self.inputs.apart is not None and self.inputs.apart.compares)

    def makes(self, what: Makes) -> bool:
        """Whether others may take this from it."""
        return what in self.kind.makes
