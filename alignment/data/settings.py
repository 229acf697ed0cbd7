"""What a user says about data: where rows come from, how a row is read, and what is held out.  No torch.

One `SourceSettings` a file, glob, hub data set, part of the embedded world or stage; `DataSettings` puts sources
together.  `docs/data.md` shows every form with two lines of example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import field_validator, model_validator

from alignment.errors import UsageError
from alignment.records import Grade
from alignment.settings import Settings, setting

WorldPart = Literal[
    "documents",
    "dialogues",
    "dialogues/instructed",
    "preferences/helpfulness",
    "preferences/safety",
    "prompts/helpfulness",
    "prompts/safety",
]
Form = Literal[
    "auto",
    "text",
    "document",
    "alpaca",
    "question_answer",
    "prompt",
    "sharegpt",
    "messages",
    "turns",
    "hh",
    "pair_messages",
    "two_outputs",
    "graded_answers",
    "ranked",
    "labelled",
]
FORMS: tuple[Form, ...] = get_args(Form)


class Rung(Settings):
    """One rung of a ladder of baselines: an answer stands on it when its score reaches the bar."""

    column: str = setting(..., "the answer's field that holds the score", min_length=1)
    at_least: float = setting(..., "the lowest score that stands on this rung, in the column's unit")


# AlpacaEval's scores run from 1 (the baseline is surely better) to 2 (the answer is): tier 1 beats
# text-davinci-003, tier 2 comes near GPT-4 Turbo (1.25 to 1.75), tier 3 stands above it.
ALPACAEVAL_LADDER = (
    Rung(column="preference_over_text_davinci_003", at_least=1.5000001),
    Rung(column="preference_over_gpt4_1106_preview", at_least=1.25),
    Rung(column="preference_over_gpt4_1106_preview", at_least=1.7500001),
)
PAPER_WORDS: dict[str, Grade] = {
    "significantly": "significantly",
    "significantly better": "significantly",
    "better": "better",
    "slightly": "slightly",
    "slightly better": "slightly",
    "negligibly": "negligibly",
    "negligibly better": "negligibly",
    "negligibly better / unsure": "negligibly",
    "unsure": "negligibly",
}


class GradeSettings(Settings):
    """How a word, a score gap or a ladder becomes one of the paper's four grades."""

    words: dict[str, Grade] = setting(
        PAPER_WORDS, "the file's grade (as text, without regard to case) -> grade; another value is a bad row"
    )
    gaps: tuple[float, float, float] | None = setting(
        None,
        "score gaps from which a pair is slightly, better, significantly; smaller ones are negligibly; "
        "null leaves pairs from scores ungraded",
    )
    tie_gap: float = setting(0.0, "a score gap up to this is a tie and makes no pair", ge=0)
    ladder: tuple[Rung, ...] = setting(
        ALPACAEVAL_LADDER, "graded_answers without a `score`: the rungs of a tier, the lowest first"
    )

    @field_validator("gaps")
    @classmethod
    def _rising(cls, gaps: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if gaps is not None and not 0 <= gaps[0] < gaps[1] < gaps[2]:
            raise ValueError(f"gaps must rise and not be negative, were {gaps}; for example [0.5, 1.0, 2.0]")
        return gaps


class SourceSettings(Settings):
    """Where rows come from and how each becomes a record; exactly one of world, path, hub and stage."""

    world: WorldPart | None = setting(None, "a part of the embedded chat world")
    path: str | None = setting(
        None,
        "a file or glob: .jsonl .json .parquet .csv .tsv .txt, each also .gz; seen from the current folder",
        file=True,
    )
    hub: str | None = setting(None, "a hub data set 'owner/name', read through `datasets`")
    stage: str | None = setting(
        None,
        "a stage of this recipe by its name: the records that it wrote",
        added=True,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
    )
    campaign: Literal["helpfulness", "safety"] | None = setting(
        None, "stage: only the records of this campaign; null: all", added=True
    )
    part: Literal["watch"] | None = setting(
        None,
        "stage: watch takes the records kept for the watch model, which no other model is trained on; null: the others",
        added=True,
    )
    subset: str | None = setting(None, "hub: the data set's configuration")
    split: str = setting("train", "hub: the split")
    revision: str | None = setting(None, "hub: branch, tag or commit; a commit makes the run repeatable")
    name: str | None = setting(
        None, "what reports call this source; null takes its world part, path, hub name or stage"
    )

    form: Form = setting("auto", "how a row is read; auto decides by the first rows' columns and says so")
    columns: dict[str, str] = setting(
        {}, "a record's field -> the file's column, dotted for nested objects, e.g. {output: response}"
    )
    roles: dict[str, str] = setting(
        {}, "the file's role -> user, assistant or system, e.g. {agent_1: user}; added to the usual names"
    )
    meta: tuple[str, ...] = setting((), "columns that ride along in the record's `meta`")
    rows_at: str | None = setting(None, ".json: dotted path to the list of rows inside one object")
    document_separator: str | None = setting(
        None, "text: a regular expression; a line that it matches as a whole stands between two documents"
    )
    document_start: str | None = setting(
        None, "text: a regular expression; a line that it matches as a whole begins a new document"
    )
    merge_consecutive: bool = setting(False, "join two turns of one role by a newline instead of setting aside")
    last_user_turn: Literal["quarantine", "drop"] = setting(
        "quarantine", "demonstrations that end with the user: set aside, or cut to their last answer"
    )
    no_input: tuple[str, ...] = setting(
        ("<noinput>", "noinput", "no input", "n/a"), "alpaca: inputs (without regard to case) that mean none"
    )
    labels: dict[str, bool] = setting(
        {"safe": True, "unsafe": False, "true": True, "false": False, "1": True, "0": False},
        "labelled: the file's label (as text, without regard to case) -> is the answer safe",
    )
    grades: GradeSettings = setting(GradeSettings(), "how grades are made")
    pairs_per_row: int = setting(6, "graded_answers, ranked: most pairs taken from one row", ge=1)

    even_lengths: bool = setting(
        True,
        "graded_answers: of a row's pairs, half with the longer answer as the better one where there are",
    )

    limit: int | None = setting(None, "only the first so many good rows", ge=1)
    share: float = setting(1.0, "the share of good rows taken, by a pick that the seed and the row decide", gt=0, le=1)
    max_row_bytes: int = setting(10_000_000, "a longer row is set aside, in bytes", ge=100)
    max_bad_fraction: float | None = setting(
        None, "more bad rows than this fraction stop the stage; null takes the data set's", ge=0, le=1, cosmetic=True
    )

    @model_validator(mode="after")
    def _one_place(self) -> SourceSettings:
        given = [key for key in ("world", "path", "hub", "stage") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of world, path, hub and stage says where rows come from, got {given or 'none'}"
            )
        if given[0] in ("world", "stage") and (self.form != "auto" or self.columns):
            raise ValueError(f"a {given[0]} source is made of records already: leave form and columns out")
        if self.campaign is not None and given[0] != "stage":
            raise ValueError(
                f"campaign picks records of a stage; a {given[0]} source has none to pick by: leave it out"
            )
        if self.part is not None and given[0] != "stage":
            raise ValueError(f"part picks records of a stage; a {given[0]} source has none to pick by: leave it out")
        return self

    @field_validator("document_separator", "document_start")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            import regex

            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"not a regular expression: {pattern!r} ({error})") from error
        return pattern

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, roles: dict[str, str]) -> dict[str, str]:
        for name, role in roles.items():
            if role not in ("user", "assistant", "system"):
                raise ValueError(f"roles.{name} was {role!r}; right are user, assistant and system")
        return roles

    @property
    def label(self) -> str:
        """What reports and errors call this source."""
        if named := self.name or self.path:
            return named
        if self.hub:
            return f"hub:{self.hub}@{self.split}"
        if self.world:
            return f"world:{self.world}"
        return "/".join(filter(None, (f"stage:{self.stage}", self.campaign, self.part)))


class SplitSettings(Settings):
    """How prompts are split, once for the whole run: by a hash of the first user message, alike in every stage."""

    test: float | None = setting(
        None,
        "the share of prompts that no stage looks at before the evaluation and Ghost Attention's; "
        "null: as large as validation's",
        added=True,
        ge=0,
        lt=1,
    )
    validation: float | None = setting(
        None,
        "the share of prompts that stages measure themselves by while they train, and PPO chooses its best iteration "
        "by; null, or less than that: the largest held_out_fraction of the recipe's dialogues, pairs and prompts",
        added=True,
        ge=0,
        lt=1,
    )
    search_texts: bool = setting(
        True,
        "look in the pretraining texts for what later stages hold out; false: only for their held_out sources, so that "
        "pretraining does not rest on what later stages train on",
        added=True,
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> SplitSettings:
        if (self.test or 0.0) + (self.validation or 0.0) >= 1:
            raise ValueError(f"test {self.test} and validation {self.validation} leave nothing to train on")
        return self


class MixSettings(Settings):
    """Other data beside a data set's own, by proportion (Llama 2 paper, 3.2.2)."""

    sources: tuple[SourceSettings, ...] = setting(
        ..., "the other data, drawn from uniformly, all sources together", min_length=1
    )
    share: float = setting(
        ..., "their share of all that is trained on: 0.5 is as many again as train's own, all of which stay", gt=0, lt=1
    )


class DataSettings(Settings):
    """A data set: what is trained on and what is held out."""

    train: tuple[SourceSettings, ...] = setting(..., "sources to train on, read in this order", min_length=1)
    mix: MixSettings | None = setting(
        None, "other data to train on too, as a share of the whole; none of it is held out", added=True
    )
    held_out: tuple[SourceSettings, ...] = setting((), "sources kept for evaluation")
    held_out_fraction: float = setting(
        0.0,
        "the fraction of train's prompts that the stage measures itself by, by a hash of their text; 0: in a run the "
        "split's validation part",
        ge=0,
        lt=1,
    )
    split_by: Literal["prompt", "opening"] = setting(
        "prompt", "what must not stand on both sides: the whole prompt, or its first user turn"
    )
    max_bad_fraction: float = setting(
        0.01, "more bad rows in one source than this fraction stop the stage", ge=0, le=1, cosmetic=True
    )
    on_duplicate: Literal["keep", "drop"] = setting(
        "drop", "records with the same text in the same part: keep all, or only the first"
    )

    @property
    def holds_out(self) -> bool:
        """Whether anything is asked to be held out."""
        return bool(self.held_out) or self.held_out_fraction > 0

    @property
    def sources(self) -> tuple[SourceSettings, ...]:
        """Every source, train's first."""
        mixed = self.mix.sources if self.mix is not None else ()
        return (*self.train, *mixed, *self.held_out)


def data_settings(given: DataSettings | Path | str, held_out_fraction: float = 0.0) -> DataSettings:
    """A data set's settings as they are, or of one file or glob whose form is found by its rows.

    Raises:
        UsageError: a share to hold out beside settings, which say their own.
    """
    if not isinstance(given, DataSettings):
        return DataSettings(train=(SourceSettings(path=str(given)),), held_out_fraction=held_out_fraction)
    if held_out_fraction:
        raise UsageError("held_out_fraction goes with a path; settings say their own")
    return given
