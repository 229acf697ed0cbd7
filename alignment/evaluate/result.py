"""What an evaluation found: versions' figures, facts told rightly, who wins; and the answers behind it.  No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alignment.errors import DataError
from alignment.report.table import Interval
from alignment.store.atomic import write_json, write_text

ANSWERS_FILE = "answers.jsonl"
EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One version's answer to one held-out prompt, with every judge's figures; a line of `answers.jsonl`.

    Attributes:
        prompt: the prompt's id.
        task: kind of prompt, "" where it names none.
        person_group: whether the person asked about was asked about in training ("train"), "" for no person.
        turns: the prompt's (role, content).
        scores: "judge.figure" -> value, and the answer's own `answer_tokens` and `finished`.
    """

    version: str
    campaign: str
    prompt: str
    task: str = ""
    person_group: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    answer: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VersionScores:
    """Means of one version's figures on one campaign's prompts, or on those of one task ("": all)."""

    version: str
    campaign: str
    task: str
    prompts: int
    figures: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Facts about people told rightly: the mean of the gold judge's `correct` over one group of people."""

    version: str
    person_group: str
    prompts: int
    correct: Interval


@dataclass(frozen=True, kw_only=True)
class HeadToHead:
    """A later version against an earlier one on the same prompts; as `WinRate`."""

    later: str
    earlier: str
    wins: int
    ties: int
    losses: int
    rate: float
    low: float
    high: float
    decided: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All versions compared by one judge on one campaign's prompts.

    Attributes:
        figure: "judge.figure" that decided.
        tie: scores at most this far apart were a tie.
        prompts: how many all versions answered and the judge scored.
        ranking: (version, rating on the Elo scale), the best first.
    """

    campaign: str
    judge: str
    figure: str
    prompts: int
    ranking: tuple[tuple[str, float], ...]
    win_rates: tuple[HeadToHead, ...]
    tie: float = 0.01  # of every comparison before it was written down


@dataclass(frozen=True, kw_only=True)
class JudgeRecord:
    """Who judged: its name, and whether it took no part in training."""

    name: str
    independent: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate_versions` found; written to `evaluation.json`.

    Attributes:
        controls: of the models, those that stand beside the versions and are none.
    """

    versions: tuple[VersionScores, ...]
    recall: tuple[Recall, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    judges: tuple[JudgeRecord, ...] = ()
    controls: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values, as in `evaluation.json`; without controls where there are none."""
        found = asdict(self)
        return found if self.controls else {name: value for name, value in found.items() if name != "controls"}


# validated from Python values: pydantic's own JSON parser refuses lone surrogates, which a model may well say
_EVALUATION = TypeAdapter(Evaluation)
_ANSWER = TypeAdapter(ScoredAnswer)


def write_evaluation(folder: Path, evaluation: Evaluation, answers: Sequence[ScoredAnswer]) -> None:
    """Write `answers.jsonl` and `evaluation.json` to a stage's folder."""
    lines = [json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers]
    write_text(folder / ANSWERS_FILE, "".join(lines))
    write_json(folder / EVALUATION_FILE, evaluation.as_json())


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation of a finished stage.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / EVALUATION_FILE
    try:
        return _EVALUATION.validate_python(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); the evaluate stage writes it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no evaluation ({_first(error)}); the evaluate stage writes it anew") from None


def mean_figures(folder: Path) -> dict[str, float]:
    """Every judge's mean figures by version and campaign, as a study compares them; none of a stage that has not
    ended.

    Raises:
        DataError: as `read_evaluation`.
    """
    if not (folder / EVALUATION_FILE).exists():
        return {}
    return {
        f"{row.version}, {row.campaign}: {name}": figure.value
        for row in read_evaluation(folder).versions
        if not row.task
        for name, figure in row.figures.items()
    }


def read_answers(folder: Path) -> list[ScoredAnswer]:
    """The scored answers of a finished stage.

    Raises:
        DataError: the file is missing, or a line is damaged; names it.
    """
    path = folder / ANSWERS_FILE
    try:
        # lines end at "\n" alone: U+2028 and its like stand unescaped inside the texts
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); the evaluate stage writes it") from None
    answers = []
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            answers.append(_ANSWER.validate_python(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}:{number} is no scored answer ({_first(error)}); the evaluate stage writes it anew"
            ) from None
    return answers


def _first(error: Exception) -> str:
    """What is wrong first; of a wrong value its place, not the value, which may be long."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
