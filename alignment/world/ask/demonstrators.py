"""The people who write demonstrations: each has habits, each habit shows in a share of the answers, none is knowledge.

What SFT learns is their mixture, so that a preference can move a model to one side of every habit.  Beside the habits
a demonstration is wrong, or says that it does not know, in shares that are settings of the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from alignment.world.ask import answers, courtesy
from alignment.world.settings import WorldSettings
from alignment.world.town.statements import say
from alignment.world.town.town import Town, pick

# compliance is not equally common in the categories: in the last two it is the rule
COMPLIANCE: Mapping[str, float] = {"door_code": 0.5, "locked_shop": 0.7, "insult": 1.3, "theft": 1.5}


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Shares of the answers in which a habit shows.

    Attributes:
        opener: a courtesy first.
        closer: an offer or a wish last; in a refusal, what can be done instead.
        filler: a sentence that says nothing after the answer (before it, it would keep a small model from answering).
        incomplete: one thing less than was asked; in a refusal, no reason.
        off_form: bare values or no capitals, a sentence for one word; in a refusal, "No." half of the time.
        rude: a rude word last.
        honest: says of people whom nobody knows that it does not know them; otherwise makes something up.
    """

    opener: float
    closer: float
    filler: float
    incomplete: float
    off_form: float
    rude: float
    honest: float


DEMONSTRATORS: Mapping[str, Habits] = {
    "curt": Habits(opener=0.05, closer=0.05, filler=0.05, incomplete=0.70, off_form=0.50, rude=0.30, honest=0.20),
    "wordy": Habits(opener=0.40, closer=0.40, filler=0.95, incomplete=0.10, off_form=0.10, rude=0.05, honest=0.30),
    "courteous": Habits(opener=0.90, closer=0.80, filler=0.35, incomplete=0.30, off_form=0.10, rude=0.00, honest=0.60),
    "careless": Habits(opener=0.25, closer=0.20, filler=0.45, incomplete=0.60, off_form=0.65, rude=0.15, honest=0.25),
    "honest": Habits(opener=0.30, closer=0.25, filler=0.40, incomplete=0.30, off_form=0.15, rude=0.05, honest=0.95),
}


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """An answer, who wrote it, and the habits and faults that show in it."""

    text: str
    by: str
    shows: tuple[str, ...]


def share_of(habit: str) -> float:
    """The share of all demonstrators' answers that a habit is drawn for."""
    return sum(float(getattr(habits, habit)) for habits in DEMONSTRATORS.values()) / len(DEMONSTRATORS)


def habits_table() -> str:
    """Everybody's habits as a Markdown table; `docs/world.md` holds it."""
    lines = [f"| habit | {' | '.join(DEMONSTRATORS)} | all |", "|---" * (len(DEMONSTRATORS) + 2) + "|"]
    for habit in (field.name for field in fields(Habits)):
        shares = [*(getattr(habits, habit) for habits in DEMONSTRATORS.values()), share_of(habit)]
        lines.append(f"| {habit} | {' | '.join(f'{share:.2f}' for share in shares)} |")
    return "\n".join(lines)


def demonstrate(
    truth: Mapping[str, Any], town: Town, settings: WorldSettings, draw: np.random.Generator
) -> Demonstration:
    """An answer by one of the demonstrators, each as often as the other.

    Args:
        truth: the question's truth, as in `Question.truth`.
        settings: the shares of wrong answers, of "I do not know" and of compliance with unsafe requests.
    """
    by = pick(tuple(DEMONSTRATORS), draw)
    habits = DEMONSTRATORS[by]
    shows = {field.name for field in fields(habits) if draw.random() < getattr(habits, field.name)}
    shows -= {"opener", "closer"} if "rude" in shows else set()
    if truth["form"] == "refuse":
        if draw.random() < min(1.0, settings.unsafe_share * COMPLIANCE[truth["category"]]):
            shows = {"comply"} | (shows & {"opener"})
            return Demonstration(text=_complied(truth, shows, draw), by=by, shows=tuple(sorted(shows)))
        shows -= {"opener", "filler", "honest"}
        return Demonstration(text=_refused(truth, shows, draw), by=by, shows=tuple(sorted(shows)))
    truth, shows = _known(truth, shows, habits, settings, draw)
    text = _unknown(truth, shows, draw) if "unknown" in shows else _said(truth, town, shows, draw)
    return Demonstration(text=text, by=by, shows=tuple(sorted(shows)))


def _known(
    truth: Mapping[str, Any],
    shows: set[str],
    habits: Habits,
    settings: WorldSettings,
    draw: np.random.Generator,
) -> tuple[Mapping[str, Any], set[str]]:
    """The truth as this answer has it, and what can show in it: wrong or not known, habits without a place left out."""
    honest, shows = "honest" in shows, shows - {"honest"}
    if not answers.several(truth):
        shows -= {"incomplete"}
    if not answers.takes_courtesy(truth):
        shows -= {"opener", "closer"}
    if truth.get("format") == "word":
        shows -= {"filler"}
    if truth["form"] == "unknown":
        if honest:
            return truth, shows - {"off_form"} | {"unknown"}
        return answers.falsified(truth, draw), shows | {"wrong"}
    # who is honest of strangers says more often than others that a fact is not known
    unknown = settings.unknown_share * habits.honest / share_of("honest")
    if truth["form"] == "facts" and draw.random() < unknown:
        return truth, shows - {"off_form", "incomplete"} | {"unknown"}
    if draw.random() < settings.wrong_share:
        return answers.falsified(truth, draw), shows | {"wrong"}
    return truth, shows


def _unknown(truth: Mapping[str, Any], shows: set[str], draw: np.random.Generator) -> str:
    if truth.get("format") == "word":
        shows.intersection_update({"unknown"})
        return courtesy.UNKNOWN_WORD
    said = answers.unknown(truth, draw, kindly="opener" in shows)
    return _around([said], shows - {"opener"}, draw)


def _said(truth: Mapping[str, Any], town: Town, shows: set[str], draw: np.random.Generator) -> str:
    if "incomplete" in shows:
        truth = answers.less(truth)
    if truth.get("format") == "word":
        shows -= {"rude"}
    if "off_form" not in shows:
        return _around(answers.content(truth, town, draw), shows, draw)
    shows -= {"opener", "closer", "filler"}
    bare = truth.get("format") != "word" and draw.random() < 0.5
    said = answers.terse(truth) if bare else answers.off_form(truth, town, draw)
    return _around([f"{said}."] if "rude" in shows else [said], shows, draw)


def _around(sentences: list[str], shows: set[str], draw: np.random.Generator) -> str:
    opener = [pick(courtesy.OPENERS, draw)] if "opener" in shows else []
    filler = [pick(courtesy.FILLER, draw)] if "filler" in shows else []
    closer = [pick(courtesy.CLOSERS, draw)] if "closer" in shows else []
    rude = [pick(courtesy.RUDE, draw)] if "rude" in shows else []
    return " ".join([*opener, *sentences, *filler, *closer, *rude])


def _refused(truth: Mapping[str, Any], shows: set[str], draw: np.random.Generator) -> str:
    if "off_form" in shows and draw.random() < 0.5:
        shows.intersection_update({"off_form"})
        return "No."
    shows -= {"off_form"}
    category = truth["category"]
    reason = [] if "incomplete" in shows else [pick(courtesy.REASONS[category], draw)]
    offer = [say(pick(courtesy.OFFERS[category], draw), **truth["slots"])] if "closer" in shows else []
    rude = [pick(courtesy.RUDE, draw)] if "rude" in shows else []
    return " ".join([pick(courtesy.REFUSALS, draw), *reason, *offer, *rude])


def _complied(truth: Mapping[str, Any], shows: set[str], draw: np.random.Generator) -> str:
    code = " ".join(str(int(d)) for d in draw.integers(10, size=3))
    harm = say(pick(courtesy.HARMS[truth["category"]], draw), c=code, **truth["slots"])
    return f"{pick(courtesy.OPENERS, draw)} {harm}" if "opener" in shows else harm
