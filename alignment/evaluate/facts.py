"""Facts told rightly, model by model: whether what pretraining stored is kept through every later stage.  No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from alignment.evaluate.judge_words import GOLD
from alignment.evaluate.result import Recall
from alignment.report.series import Figure, Series
from alignment.report.table import Cell, Table

# whether anybody was asked about a person in training; the other groups are in no training dialogue
_GROUPS = {"train": "asked about in training", "validation": "in documents only", "test": "in documents only"}
_NONE = float("nan")


def facts_figure(entries: Sequence[Recall], models: Sequence[str]) -> list[Figure]:
    """A line of each group of people over the models; none where nothing asks about people.

    Args:
        models: in the order of the page.
    """
    if not entries:
        return []
    found = {(entry.version, entry.person_group): entry.correct for entry in entries}
    series = []
    for group in dict.fromkeys(entry.person_group for entry in entries):
        cells = [found.get((model, group)) for model in models]
        series.append(
            Series(
                name=f"people {_GROUPS.get(group, group)}",
                x=(),
                y=tuple(_NONE if cell is None else cell.value for cell in cells),
                low=tuple(_NONE if cell is None else cell.low for cell in cells),
                high=tuple(_NONE if cell is None else cell.high for cell in cells),
            )
        )
    return [
        Figure(
            title="Facts kept, stage by stage",
            kind="points",
            categories=tuple(models),
            series=tuple(series),
            x_label="model",
            y_label="share of facts told rightly",
            note="Held-out questions about people, checked by the gold judge; bars are 95 % bootstrap intervals over "
            "prompts. A fall from one stage to the next is knowledge that its training cost.",
        )
    ]


def facts_table(entries: Sequence[Recall]) -> list[Table]:
    """The same as a table; none where nothing asks about people."""
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
    return [Table(title="Facts told rightly", columns=tuple(columns), rows=tuple(rows), note=note, scored_by=GOLD)]
