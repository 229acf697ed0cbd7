"""What a reward model brings to the report: accuracy by grade and source, score gaps, what it notices.  No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.evaluate.judge_words import REWARD
from alignment.report import digits
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Section
from alignment.report.table import Interval, Table
from alignment.train.report import Curve, curves, figures
from reward.measure.report import cell, interval, measured
from reward.result import group_order

_TIES = "a tie counts half"


def section(folder: Path, *, stage: str, result: Mapping[str, Any], safety_threshold: float | None = None) -> Section:
    """The section of one reward model, from its folder and its result.

    Args:
        safety_threshold: the recipe's, marked where the unsafe side is drawn; None where the recipe has none.
    """
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    accuracy = {group: evaluation["accuracy"][group] for group in sorted(evaluation["accuracy"], key=group_order)}
    blocks: list[Block] = [*_by_grade(accuracy), *_scores(evaluation["scores"])]
    details: list[Block] = []
    if accuracy:
        details.append(_accuracy(accuracy, evaluation["mean_gap"]))
    details += _noticed(folder / "noticed.json")
    details += measured(evaluation, safety_threshold)
    # the training's own accuracy counts a tie as wrong and single labelled answers too: one accuracy is enough
    own = {name: value for name, value in result.items() if name != "accuracy"}
    details.append(Facts(title="Training", items=tuple(figures(own))))
    details += curves(folder, _CURVES)
    overall = accuracy.get("all")
    summary = ""
    if overall:
        summary = f"accuracy {digits.show(interval(overall))} on {overall['pairs']:,} held-out pairs; {_TIES}"
    title = f"Reward model: {stage.removeprefix('reward-')}"
    return Section(id=stage, title=title, blocks=tuple(blocks), details=tuple(details), summary=summary)


def compared_models(path: Path) -> list[Block]:
    """Reward models side by side on each other's held-out pairs, and how far they agree; none without the file."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    names = list(dict.fromkeys(model for shares in found["accuracy"].values() for model in shares))
    rows = []
    for pairs, shares in found["accuracy"].items():
        agreed = found["agreement"].get(pairs)
        cells = [interval(shares[name]) if name in shares else None for name in names]
        number = max(share["pairs"] for share in shares.values())
        rows.append((pairs, *cells, interval(agreed["same"]) if agreed else None, number))
    table = Table(
        title="Reward models on each other's held-out pairs",
        columns=("pairs of", *(f"{name} model" for name in names), "both agree", "number"),
        rows=tuple(rows),
        note=f"How often a model prefers the chosen answer, and both the same one; 95 % intervals, bootstrap by "
        f"prompt; {_TIES}. Each model should be the better one on its own pairs (Llama 2 paper, table 7).",
        scored_by=REWARD,
    )
    return [table]


def versions_of_models(path: Path) -> list[Block]:
    """Every version's reward models on held-out answers of the very model that they judged; none without the file."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for judged in found:
        version = judged["version"]
        for role, accuracy in judged["accuracy"].items():
            own = {group: accuracy[group] for group in accuracy if group.startswith("source:stage:")}
            graded = (accuracy.get(f"grade:{grade}") for grade in ("significantly", "better"))
            entry = next(iter(own.values()), accuracy.get("all"))
            if entry is not None:
                rows.append((version, role, interval(entry), *map(_or_none, graded), entry["pairs"]))
    table = Table(
        title="Reward models, version by version",
        columns=("judging", "model", "accuracy on its own answers", "significantly better", "better", "number"),
        rows=tuple(rows),
        note=f"Held-out pairs of the answers that each version's models were trained to judge; 95 % intervals, "
        f"bootstrap by prompt; {_TIES}. Later versions' answers differ less, and are harder to tell apart; the "
        f"two columns by grade are of all held-out pairs.",
        scored_by=REWARD,
    )
    return [table]


def _or_none(entry: Mapping[str, Any] | None) -> Interval | None:
    return interval(entry) if entry is not None else None


def compared_figures(folder: Path) -> dict[str, float]:
    """What a study compares of a reward model; empty where its evaluation is not there."""
    if not (folder / "evaluation.json").exists():
        return {}
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    found = {
        f"accuracy, {_label(group)}": evaluation["accuracy"][group]["value"]
        for group in sorted(evaluation["accuracy"], key=group_order)
        if not group.startswith("source:")  # a town's source is called after its seed
    }
    for name, entry in evaluation["safety"].items():
        found[name.replace("_", " ")] = entry["value"] if isinstance(entry, Mapping) else entry
    for name, entry in evaluation.get("calibration", {}).items():
        found[f"expected calibration error, {name}"] = entry["error"]["value"]
    length = evaluation.get("length") or {"accuracy": {}}
    if length.get("scores"):
        found["correlation of score and length"] = length["scores"]["value"]
    if "matched" in length["accuracy"]:
        found["accuracy, lengths matched"] = length["accuracy"]["matched"]["value"]
    return found


_CURVES = (
    Curve(metric="loss", label="ranking loss with margin"),
    Curve(
        metric="accuracy",
        label="accuracy on each step's own pairs",
        held_out=False,
        note="Of the pairs that a step trains on, before it; what the model is worth stands above, on held-out pairs.",
    ),
)


def _accuracy(accuracy: Mapping[str, Any], gaps: Mapping[str, Any]) -> Table:
    rows = tuple(
        (_label(group), interval(entry), cell(gaps[group]), entry["pairs"]) for group, entry in accuracy.items()
    )
    return Table(
        title="Accuracy by grade and source",
        columns=("pairs", "accuracy", "mean score gap", "number"),
        rows=rows,
        note=f"Held-out pairs; 95 % intervals, bootstrap by prompt; {_TIES}.",
        scored_by=REWARD,
    )


def _by_grade(accuracy: Mapping[str, Any]) -> list[Block]:
    grades = [(group, entry) for group, entry in accuracy.items() if group.startswith("grade:")]
    if not grades:
        return []
    series = Series(
        name="accuracy",
        x=(),
        y=tuple(float(entry["value"]) for _, entry in grades),
        low=tuple(float(entry["low"]) for _, entry in grades),
        high=tuple(float(entry["high"]) for _, entry in grades),
    )
    return [
        Figure(
            title="Accuracy by grade",
            kind="bar",
            categories=tuple(_label(group) for group, _ in grades),
            series=(series,),
            x_label="how much better the chosen answer is",
            y_label="accuracy on held-out pairs",
        )
    ]


def _scores(found: Mapping[str, Any]) -> list[Block]:
    """The distribution of the scores: of safe and of unsafe answers where answers are labelled, else of all."""
    if not found or not sum(found["counts"]):
        return []
    sides = [name for name in ("safe", "unsafe") if sum(found.get(name, ()))]
    names = {name: name for name in sides} if sides else {"scores": "counts"}
    edges = tuple(found["edges"])
    return [
        Figure(
            title="Scores of held-out answers",
            kind="histogram",
            series=tuple(Series(name=name, x=edges, y=tuple(found[key])) for name, key in names.items()),
            x_label="score before the sigmoid",
            y_label="answers",
            note="Answers with a safety label." if sides else "Chosen, rejected and labelled answers together.",
        )
    ]


def _noticed(path: Path) -> list[Block]:
    """How often the right answer scores higher than the same answer with one flaw."""
    if not path.exists():
        return []
    rows = tuple(
        (entry["flaw"], entry.get("origin", "world:helpfulness"), interval(entry["share"]), entry["prompts"])
        for entry in json.loads(path.read_text(encoding="utf-8"))
    )
    note = (
        "A plain right answer against the same with one flaw (courteous: with a courtesy, which is none). One half "
        "means that the model does not see the difference; what it does not see, RLHF cannot teach."
    )
    columns = ("flaw", "answers of", "the right answer scores higher", "prompts")
    return [Table(title="What the model notices", columns=columns, rows=rows, note=note, scored_by=REWARD)]


def _label(group: str) -> str:
    kind, _, name = group.partition(":")
    return {"all": "all", "grade": name, "safety": name, "source": f"from {name}"}[kind]
