"""What the evaluation brings to the report: every version's figures, and sample dialogues side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from alignment.evaluate.result import (
    Comparison,
    HeadToHead,
    JudgeRecord,
    Recall,
    ScoredAnswer,
    VersionScores,
    read_answers,
    read_evaluation,
)
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Exchange, Section, SideBySide
from alignment.report.table import Cell, Interval, Table

# judge -> its main figures and their scale; a judge's other figures are its parts
_MAIN = {
    "gold": (("helpfulness", "safety"), "mean"),
    "endpoint": (("helpfulness", "safety"), "mean"),
    "reward": (("helpfulness", "safety", "combined"), "mean score before the sigmoid"),
}


def section(folder: Path, *, num_examples: int) -> Section:
    """The section of the evaluation stage, from its folder."""
    evaluation = read_evaluation(folder)
    blocks: list[Block] = []
    for campaign in dict.fromkeys(entry.campaign for entry in evaluation.versions if not entry.task):
        entries = [entry for entry in evaluation.versions if entry.campaign == campaign]
        blocks += _campaign(campaign, [entry for entry in entries if not entry.task], evaluation.judges)
        blocks += _by_task(campaign, [entry for entry in entries if entry.task])
        blocks += [_who_wins(found) for found in evaluation.comparisons if found.campaign == campaign]
    blocks += _recall(evaluation.recall)
    blocks += _examples(read_answers(folder), num_examples)
    title = "Versions on held-out prompts"
    return Section(id="evaluate", title=title, blocks=tuple(blocks), summary=evaluation.headline)


def _campaign(campaign: str, rows: Sequence[VersionScores], judges: Sequence[JudgeRecord]) -> list[Block]:
    measured = {name for row in rows for name in row.figures}
    names = [f"{judge}.{own}" for judge, (figures, _) in _MAIN.items() for own in figures]
    names = [name for name in names if name in measured]
    parts = sorted(measured - set(names))
    blocks: list[Block] = []
    for title, columns in ((f"Held-out {campaign} prompts", names), (f"Parts, held-out {campaign} prompts", parts)):
        if columns:
            cells = tuple((row.version, row.prompts, *(row.figures.get(name) for name in columns)) for row in rows)
            note = " ".join(["Means with 95 % bootstrap intervals.", *_who_judged(judges)])
            blocks.append(Table(title=title, columns=("version", "prompts", *columns), rows=cells, note=note))
    labels = tuple(row.version for row in rows)
    for judge, (_, scale) in _MAIN.items():
        shown = [name for name in names if name.startswith(f"{judge}.")]
        if shown:
            blocks.append(
                Figure(
                    title=f"{judge} judge, held-out {campaign} prompts, version by version",
                    kind="line",
                    categories=labels,
                    series=tuple(_series(name, rows) for name in shown),
                    x_label="version",
                    y_label=scale,
                )
            )
    return blocks


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
    by_version: dict[str, dict[str, Cell]] = defaultdict(dict)
    for entry in entries:
        by_version[entry.version][entry.task] = entry.figures[name]
    rows = tuple((version, *(cells.get(task) for task in tasks)) for version, cells in by_version.items())
    return [Table(title=f"{name} by kind of prompt", columns=("version", *tasks), rows=rows)]


def _who_wins(found: Comparison) -> Table:
    """One judge's ranking with every version's win rate against the one before it and the first chat model."""
    rates = {(rate.later, rate.earlier): rate for rate in found.win_rates}
    order = list(dict.fromkeys(name for rate in found.win_rates for name in (rate.earlier, rate.later)))
    base = "sft" if "sft" in order else order[0]
    rows = []
    for place, (name, rating) in enumerate(found.ranking, start=1):
        at = order.index(name)
        before = rates.get((name, order[at - 1])) if at else None
        rows.append((place, name, round(rating), _rate(rates.get((name, base))), _counts(before), _rate(before)))
    return Table(
        title=f"Who wins, {found.judge} judge, held-out {found.campaign} prompts",
        columns=("place", "version", "rating", f"win rate against {base}", "before it: win / tie / loss", "win rate"),
        rows=tuple(rows),
        note=f"{found.prompts} prompts, decided by {found.figure}; scores at most {found.tie:g} apart are a tie and "
        f"count half; the rating is on the Elo scale with mean 1000, from all pairs.",
    )


def _rate(rate: HeadToHead | None) -> Cell:
    return None if rate is None else Interval(value=rate.rate, low=rate.low, high=rate.high)


def _counts(rate: HeadToHead | None) -> Cell:
    return None if rate is None else f"{rate.wins} / {rate.ties} / {rate.losses}"


_GROUPS = {"train": "asked about in training", "validation": "in documents only", "test": "in documents only"}


def _recall(entries: Sequence[Recall]) -> list[Block]:
    if not entries:
        return []
    groups = list(dict.fromkeys(entry.person_group for entry in entries))
    by_version: dict[str, dict[str, Recall]] = defaultdict(dict)
    for entry in entries:
        by_version[entry.version][entry.person_group] = entry
    rows: list[tuple[Cell, ...]] = []
    for version, of_group in by_version.items():
        cells: list[Cell] = [version]
        for group in groups:
            found = of_group.get(group)
            cells += [found.prompts, found.correct] if found else [None, None]
        rows.append(tuple(cells))
    columns = ["version"]
    for group in groups:
        columns += [f"prompts ({group})", f"people {_GROUPS.get(group, group)}"]
    note = (
        "The gold judge's `correct` on questions about people. Of people in documents only, no training dialogue says "
        "anything: what is right was extracted from what pretraining stored."
    )
    return [Table(title="Facts told rightly", columns=tuple(columns), rows=tuple(rows), note=note)]


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
        blocks.append(SideBySide(title=f"{key[0]} prompt {key[1]}", prompt=tuple(prompt), answers=shown))
    return blocks


def _series(name: str, rows: Sequence[VersionScores]) -> Series:
    found = [(float(i), row.figures[name]) for i, row in enumerate(rows) if name in row.figures]
    return Series(
        name=name,
        x=tuple(x for x, _ in found),
        y=tuple(entry.value for _, entry in found),
        low=tuple(entry.low for _, entry in found),
        high=tuple(entry.high for _, entry in found),
    )
