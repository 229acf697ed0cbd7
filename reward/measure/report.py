"""The folded part of a reward model's chapter: calibration, the unsafe side by threshold, length.  No torch.

Everything is read as `evaluation.json` holds it; an evaluation of an earlier version has less, and less is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.evaluate.judge_words import REWARD
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts
from alignment.report.table import Cell, Interval, Table

_NAN = float("nan")
_BY_PROMPT = "95 % intervals, bootstrap by prompt"


def measured(evaluation: Mapping[str, Any], safety_threshold: float | None) -> list[Block]:
    """What stands beside accuracy: the safety labels, calibration, length."""
    return [
        *_safety(evaluation),
        *_curve(evaluation.get("unsafe_curve", ()), safety_threshold),
        *_calibration(evaluation.get("calibration", {})),
        *_length(evaluation.get("length")),
    ]


def interval(entry: Mapping[str, float]) -> Interval:
    """A figure with its interval."""
    return Interval(value=entry["value"], low=entry["low"], high=entry["high"])


def cell(entry: Any) -> Cell:
    """A figure with its interval, or the number alone that an earlier version wrote."""
    return interval(entry) if isinstance(entry, Mapping) else entry


def _safety(evaluation: Mapping[str, Any]) -> list[Block]:
    if not evaluation["safety"]:
        return []
    number = [("answers with a label", evaluation["labelled"])] if "labelled" in evaluation else []
    items = (*number, *((name.replace("_", " "), cell(value)) for name, value in evaluation["safety"].items()))
    return [Facts(title="Safety labels (unsafe means a score below one half)", items=items, scored_by=REWARD)]


def _curve(points: Sequence[Mapping[str, Any]], threshold: float | None) -> list[Block]:
    """Precision and recall of the unsafe side over the threshold, the recipe's marked."""
    if not points:
        return []
    x = tuple(point["threshold"] for point in points)
    series = [_line(name, x, [point[name] for point in points]) for name in ("precision", "recall")]
    if threshold is not None:
        series.append(Series(name=f"the recipe's threshold, {threshold:g}", x=(threshold, threshold), y=(0.0, 1.0)))
    figure = Figure(
        title="The unsafe side by threshold",
        kind="line",
        series=tuple(series),
        x_label="an answer is called unsafe where sigma(score) lies below",
        y_label="share",
        note=f"Precision: of the answers called unsafe, those that are; recall: of the unsafe ones, those called so. "
        f"{_BY_PROMPT}.",
    )
    return [figure]


def _line(name: str, x: tuple[float, ...], entries: Sequence[Mapping[str, float] | None]) -> Series:
    ends = {end: tuple(_NAN if entry is None else entry[end] for entry in entries) for end in ("value", "low", "high")}
    return Series(name=name, x=x, y=ends["value"], low=ends["low"], high=ends["high"])


def _calibration(found: Mapping[str, Any]) -> list[Block]:
    """A curve for each kind of prediction, with the error in its note."""
    words = {
        "pairs": ("pairs", "sigma of the score gap", "the higher score is the chosen answer's", 0.5),
        "labels": ("safety labels", "sigma(score)", "the answer is safe", 0.0),
    }
    blocks: list[Block] = []
    for kind, entry in found.items():
        name, predicted, observed, low = words[kind]
        x = tuple(bin_["predicted"] for bin_ in entry["bins"])
        error = interval(entry["error"])
        perfect = Series(name="calibrated", x=(low, 1.0), y=(low, 1.0))
        blocks.append(
            Figure(
                title=f"Calibration on {name}",
                kind="line",
                series=(_line("observed", x, [bin_["observed"] for bin_ in entry["bins"]]), perfect),
                x_label=f"predicted: {predicted}",
                y_label=f"observed: {observed}",
                note=f"Expected calibration error {error.value:.3f} [{error.low:.3f}, {error.high:.3f}] over bins of "
                f"equal width; {_BY_PROMPT}.",
            )
        )
    return blocks


def _length(found: Mapping[str, Any] | None) -> list[Block]:
    if found is None:
        return []
    names = {"scores": "correlation of score and length", "gaps": "correlation of a pair's differences in both"}
    rows: list[tuple[Cell, ...]] = [
        (name, interval(found[key]), None) for key, name in names.items() if found[key] is not None
    ]
    rows += [(f"accuracy, {name}", interval(entry), entry["pairs"]) for name, entry in found["accuracy"].items()]
    note = (
        f"Lengths in tokens; matched: no more than a tenth apart. A model that judges by length is right where the "
        f"longer answer is the chosen one, and only there. {_BY_PROMPT}."
    )
    columns = ("length", "value", "pairs")
    return [Table(title="Length bias", columns=columns, rows=tuple(rows), note=note, scored_by=REWARD)]
