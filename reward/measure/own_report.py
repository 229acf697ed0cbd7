"""What the page and a study say of reward models on the policy's own answers.  No torch.

Everything is read as `own_answers.json` holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.evaluate.judge_words import JudgeWords
from alignment.report import digits
from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Paragraph
from alignment.report.table import Cell, Table
from reward.measure.own_pairs import KINDS
from reward.measure.own_result import COMBINED
from reward.measure.report import interval

_BY_PROMPT = "95 % intervals, bootstrap by prompt"
_ORACLE = "oracle"
_KINDS = {kind: place for place, kind in enumerate(KINDS)}


def own_answers(path: Path, words: JudgeWords) -> list[Block]:
    """The reward models on each policy's own answers, campaign by campaign; none without the file."""
    found = _read(path)
    blocks: list[Block] = []
    for entry in found.get("measures", ()):
        title = f"{entry['version']}'s own answers to {entry['campaign']} prompts"
        blocks.append(Paragraph(text=_said(entry, found, words)))
        blocks += _pairs(title, entry, found, words)
        for best in entry["best"]:
            blocks += [
                _best_table(title, best, found["samples"], words),
                _best_figure(title, best, found["samples"], words),
            ]
    return blocks


def own_figures(path: Path) -> dict[str, float]:
    """What a study compares; empty without the file."""
    found: dict[str, float] = {}
    for entry in _read(path).get("measures", ()):
        start = f"{entry['version']}'s own answers, {entry['campaign']}"
        for kind, shares in entry["pairs"].items():
            found |= {f"{start}: {kind}, {_model(name)}": share["value"] for name, share in shares.items()}
        for best in entry["best"]:
            scale = _scale(best)
            found[f"{start}: greedy, {scale}"] = best["greedy"]["value"]
            for name, last in ((name, curve[-1]) for name, curve in _curves(best)):
                said = f"{start}: best of {last['n']} by the {_model(name)}, {scale}"
                found[said] = last["score"]["value"]
                found[f"{said}, less greedy"] = last["over_greedy"]["value"]
    return found


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _model(name: str) -> str:
    """What a reward model, or who else chooses, is called."""
    return {COMBINED: "combined reward", _ORACLE: _ORACLE}.get(name, f"{name} model")


def _place(name: str) -> tuple[int, str]:
    """The two roles, then what else scores, then what the scores become."""
    return {"helpfulness": 0, "safety": 1, COMBINED: 3}.get(name, 2), name


def _scale(best: Mapping[str, Any]) -> str:
    return f"{best['judge']}.{best['figure']}"


def _curves(best: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Who chooses -> by n; the oracle last."""
    for name in sorted(best["chosen"], key=_place):
        yield name, best["chosen"][name]
    if best["oracle"]:
        yield _ORACLE, best["oracle"]


def _said(entry: Mapping[str, Any], found: Mapping[str, Any], words: JudgeWords) -> str:
    """What was drawn, who judged, and whether the models' choices beat the greedy answer."""
    start = (
        f"{entry['version']} drew {found['samples']} answers to each of {entry['prompts']:,} held-out "
        f"{entry['campaign']} prompts at temperature {found['temperature']:g} ({entry['distinct']:.1f} of them differ)."
    )
    if found["judge"] is None:
        return (
            f"{start} Nobody outside training judged them: the figures are the reward models' own, each on its own "
            f"scale, and do not say whether a model is right."
        )
    missing = f" {entry['without_verdict']:,} got no verdict." if entry["without_verdict"] else ""
    verdicts = [
        f"the {_model(name)}'s choice {_against_greedy(curve[-1]['over_greedy'])}"
        for best in entry["best"]
        for name, curve in _curves(best)
        if name != _ORACLE
    ]
    told = f" By {words.title(found['judge'])}, {'; '.join(verdicts)}." if verdicts else ""
    return f"{start}{missing}{told}"


def _against_greedy(over: Mapping[str, float]) -> str:
    """Whether a choice among all K answers beats the greedy one."""
    by = digits.show(interval(over))
    if over["low"] > 0:
        return f"beats the greedy answer outside the interval, by {by}"
    if over["high"] < 0:
        return f"falls short of the greedy answer outside the interval, by {by}"
    return f"cannot be told from the greedy answer, {by}"


def _pairs(title: str, entry: Mapping[str, Any], found: Mapping[str, Any], words: JudgeWords) -> list[Block]:
    """How often each model scores the better answer higher, by kind of pair."""
    if not entry["pairs"]:
        return []
    models = sorted({name for shares in entry["pairs"].values() for name in shares}, key=_place)
    rows: list[tuple[Cell, ...]] = []
    for kind, shares in sorted(entry["pairs"].items(), key=lambda item: _KINDS.get(item[0], len(_KINDS))):
        number, prompts = (max(share[key] for share in shares.values()) for key in ("pairs", "prompts"))
        cells = [interval(shares[name]) if name in shares else None for name in models]
        rows.append((kind, *cells, number, prompts))
    note = (
        f"How often a model scores the better one of a prompt's two different answers higher, as "
        f"{words.title(found['judge'])} tells better from worse; a tie counts half; gaps are on its scale. "
        f"{_BY_PROMPT}."
    )
    return [
        Table(
            title=f"Reward models on {title}",
            columns=("pairs", *(_model(name) for name in models), "number", "prompts"),
            rows=tuple(rows),
            note=note,
            scored_by=found["judge"],
        )
    ]


def _best_table(title: str, best: Mapping[str, Any], samples: int, words: JudgeWords) -> Table:
    """Mean scores of what each chooses among all that was drawn, and against the greedy answer."""
    rows: list[tuple[Cell, ...]] = [
        ("nobody: the greedy answer", interval(best["greedy"]), None),
        ("chance: any drawn answer", interval(best["sample"]), interval(next(_curves(best))[1][0]["over_greedy"])),
    ]
    for name, curve in _curves(best):
        rows.append((f"the {_model(name)}", interval(curve[-1]["score"]), interval(curve[-1]["over_greedy"])))
    chooses = f" The oracle chooses by {_scale(best)} itself." if best["oracle"] else ""
    return Table(
        title=f"Best of {samples} of {title}, {_scale(best)}",
        columns=("chosen by", "mean score", "less greedy"),
        rows=tuple(rows),
        note=f"Mean {best['figure']} score by {words.title(best['judge'])} over {best['prompts']:,} prompts.{chooses} "
        f"{_BY_PROMPT}.",
        scored_by=best["judge"],
    )


def _best_figure(title: str, best: Mapping[str, Any], samples: int, words: JudgeWords) -> Figure:
    """The same as curves over n, the greedy answer a level."""
    series = []
    for name, curve in _curves(best):
        ends = {key: tuple(point["score"][key] for point in curve) for key in ("value", "low", "high")}
        x = tuple(point["n"] for point in curve)
        series.append(Series(name=_model(name), x=x, y=ends["value"], low=ends["low"], high=ends["high"]))
    last = series[0].x[-1]
    level = best["greedy"]["value"]
    series.append(Series(name="greedy answer", x=(1, last), y=(level, level)))
    return Figure(
        title=f"Best of n of {title}, {_scale(best)}",
        kind="line",
        series=tuple(series),
        x_label="answers to choose among",
        y_label=f"mean score, {words.title(best['judge'])}",
        wide=True,
        note=f"The mean over all ways to draw n of {samples}; {_BY_PROMPT}.",
    )
