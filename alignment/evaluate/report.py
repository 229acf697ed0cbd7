"""What the evaluation brings to the report: every version's figures, and sample dialogues side by side."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from alignment.evaluate.compared import Compared
from alignment.evaluate.facts import facts_table
from alignment.evaluate.improvement import headline, improvements, opening, points
from alignment.evaluate.judge_words import MAIN_FIGURES, JudgeWords
from alignment.evaluate.result import (
    EVALUATION_FILE,
    Comparison,
    Evaluation,
    HeadToHead,
    JudgeRecord,
    ScoredAnswer,
    VersionScores,
    read_answers,
    read_evaluation,
)
from alignment.report.page import Block, Exchange, Opening, Section, SideBySide
from alignment.report.table import Cell, Interval, Table

_QUESTION = 90  # letters of a question in the line that opens its dialogue


def section(
    folder: Path, *, num_examples: int, compared: Compared | None = None, words: JudgeWords | None = None
) -> Section:
    """The section of the evaluation stage, from its folder.

    Args:
        compared: the two models of the page's first sentence.
        words: how the judges are called.
    """
    evaluation, answers = read_evaluation(folder), read_answers(folder)
    words = words or JudgeWords()
    base = compared.before if compared is not None else ""
    controls = evaluation.controls
    wins: list[Block] = [_who_wins(found, words, base, controls) for found in evaluation.comparisons]
    blocks = [*wins[:1], *_examples(answers, num_examples)]  # the first judge's first campaign; the others are folded
    details: list[Block] = list(facts_table(evaluation.recall))
    details += wins[1:]
    for campaign in dict.fromkeys(entry.campaign for entry in evaluation.versions if not entry.task):
        entries = [entry for entry in evaluation.versions if entry.campaign == campaign]
        details += _campaign(campaign, [entry for entry in entries if not entry.task], evaluation, words)
        details += _by_task(campaign, [entry for entry in entries if entry.task])
    return Section(
        id="evaluate",
        title="Versions on held-out prompts",
        blocks=tuple(blocks),
        details=tuple(details),
        summary=headline(improvements(evaluation, answers, compared), compared),
    )


def opening_of(folder: Path, *, compared: Compared | None, words: JudgeWords) -> Opening:
    """What the evaluation gives to the top of the page; empty of a stage that has not ended."""
    if not (folder / EVALUATION_FILE).exists():
        return Opening()
    return opening(read_evaluation(folder), read_answers(folder), compared, words)


def _campaign(campaign: str, rows: Sequence[VersionScores], evaluation: Evaluation, words: JudgeWords) -> list[Block]:
    """A table for each judge's main figures, one for their parts, and the figures of each judge."""
    measured = {name for row in rows for name in row.figures}
    known = dict.fromkeys([*MAIN_FIGURES, *(judge.name for judge in evaluation.judges)])
    judges = [judge for judge in known if any(name.startswith(f"{judge}.") for name in measured)]
    note = " ".join(["Means with 95 % bootstrap intervals.", *_who_judged(evaluation.judges)])
    blocks: list[Block] = []
    drawn: list[Block] = []
    for judge in judges:
        own = [name for name in sorted(measured) if name.startswith(f"{judge}.")]
        main = [f"{judge}.{figure}" for figure in MAIN_FIGURES.get(judge, ((), ""))[0]] or own
        main = [name for name in main if name in measured]
        parts = [name for name in own if name not in main]
        for title, columns in (
            (f"Held-out {campaign} prompts, {judge} judge", main),
            (f"Parts of the {judge} judge, held-out {campaign} prompts", parts),
        ):
            blocks += _means(title, rows, columns, note, judge)
        if main:
            series = {name.partition(".")[2]: (campaign, name) for name in main}
            title = f"Held-out {campaign} prompts, scored by {words.title(judge)}"
            drawn.append(points(title, judge, series, evaluation))
    own = [name for name in sorted(measured) if not any(name.startswith(f"{judge}.") for judge in judges)]
    return [*blocks, *_means(f"Answers to held-out {campaign} prompts", rows, own, note), *drawn]


def _means(
    title: str, rows: Sequence[VersionScores], figures: Sequence[str], note: str, judge: str = ""
) -> list[Block]:
    """A table of some figures of every version; none where there are no figures."""
    if not figures:
        return []
    cells = tuple((row.version, row.prompts, *(row.figures.get(name) for name in figures)) for row in rows)
    return [Table(title=title, columns=("version", "prompts", *figures), rows=cells, note=note, scored_by=judge)]


def _who_judged(judges: Sequence[JudgeRecord]) -> list[str]:
    """A sentence each on the judges that took no part in training and on those that did."""
    groups = [[judge.name for judge in judges if judge.independent is kind] for kind in (True, False)]
    words = ("Took no part in training: ", "Took part in it: ")
    return [f"{said}{', '.join(names)}." for said, names in zip(words, groups, strict=True) if names]


def _by_task(campaign: str, entries: Sequence[VersionScores]) -> list[Block]:
    name = f"gold.{campaign}"
    entries = [entry for entry in entries if name in entry.figures]
    if not entries:
        return []
    tasks = sorted({entry.task for entry in entries})
    versions = list(dict.fromkeys(entry.version for entry in entries))
    found = {(entry.task, entry.version): entry.figures[name] for entry in entries}
    # the shorter list stands across, so that no table grows wider than the page
    if len(versions) > len(tasks):
        rows = tuple((version, *(found.get((task, version)) for task in tasks)) for version in versions)
        heads = ("version", *tasks)
    else:
        rows = tuple((task, *(found.get((task, version)) for version in versions)) for task in tasks)
        heads = ("kind of prompt", *versions)
    return [Table(title=f"{name} by kind of prompt", columns=heads, rows=rows, scored_by=name.partition(".")[0])]


def _who_wins(found: Comparison, words: JudgeWords, base: str, controls: Sequence[str]) -> Table:
    """One judge's ranking with every version's win rate against the one before it and the first chat model.

    A control was trained beside the versions, so that none stands before it.
    """
    rates = {(rate.later, rate.earlier): rate for rate in found.win_rates}
    order = list(dict.fromkeys(name for rate in found.win_rates for name in (rate.earlier, rate.later)))
    base = base if base in order else order[0]
    rows = []
    for place, (name, rating) in enumerate(found.ranking, start=1):
        at = order.index(name)
        before = rates.get((name, order[at - 1])) if at and name not in controls else None
        rows.append(
            (name, float(place), float(round(rating)), _rate(rates.get((name, base))), _rate(before), _counts(before))
        )
    beside = [name for name in order if name in controls]
    no_versions = f"; {', '.join(beside)} stands beside the versions and is none" if beside else ""
    return Table(
        title=f"Who wins, {found.judge} judge, held-out {found.campaign} prompts",
        columns=(
            "version",
            "place",
            "rating",
            f"win rate against {base}",
            "win rate against the version trained before it",
            "that version, and how often this one won",
        ),
        rows=tuple(rows),
        note=f"{found.prompts} prompts, decided by {found.figure} of {words.title(found.judge)}; scores at most "
        f"{found.tie:g} apart are a tie and count half; the rating is on the Elo scale with mean 1000, from "
        f"all pairs{no_versions}.",
        scored_by=found.judge,
    )


def _rate(rate: HeadToHead | None) -> Cell:
    return None if rate is None else Interval(value=rate.rate, low=rate.low, high=rate.high)


def _counts(rate: HeadToHead | None) -> Cell:
    """Whom it met and how that ended, in words that leave no doubt whose wins they are."""
    if rate is None:
        return None
    return f"against {rate.earlier}: won {rate.wins}, tied {rate.ties}, lost {rate.losses}"


def _examples(answers: Sequence[ScoredAnswer], count: int) -> list[Block]:
    """Some prompts, spread evenly over all, each with every version's answer."""
    by_prompt: dict[tuple[str, str], list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.campaign, answer.prompt].append(answer)
    keys = sorted(by_prompt, key=lambda key: (key[1], key[0]))
    step = max(1, len(keys) // max(count, 1))
    blocks: list[Block] = []
    for key in keys[::step][:count]:
        first = by_prompt[key][0]
        prompt = [Exchange(role="system", text=first.system)] if first.system else []
        prompt += [Exchange(role=role, text=text) for role, text in first.turns]
        shown = tuple((answer.version, answer.answer, answer.scores) for answer in by_prompt[key])
        remarks = tuple((answer.version, _no_text(answer)) for answer in by_prompt[key] if not answer.answer.strip())
        asked = textwrap.shorten(first.turns[-1][1], _QUESTION, placeholder=" …") if first.turns else ""
        title = f"{key[0]}: {asked}" if asked else f"{key[0]} prompt {key[1]}"
        blocks.append(SideBySide(title=title, prompt=tuple(prompt), answers=shown, remarks=remarks))
    return blocks


def _no_text(answer: ScoredAnswer) -> str:
    """What to say of an answer that shows nothing: whether there is nothing, or only what cannot be seen."""
    finished = bool(answer.scores.get("finished", 1.0))
    tokens = int(answer.scores.get("answer_tokens", 0.0)) - finished  # the end of the answer is a token
    if tokens <= 0:
        return "an empty answer"
    return f"no text: {tokens:,} tokens of blanks and line ends" + ("" if finished else ", cut at the limit")
