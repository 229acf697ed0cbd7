"""What the reward models of several runs are worth, run beside run: tables of `python -m alignment.evaluate.evidence`.

The figures are those that the runs' evaluations left (`reward/measure/` has measured them, each with a bootstrap
interval over prompts): the first version's models on held-out pairs by grade and on the SFT model's own answers, and
every version's on answers of the very model that they judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.evaluate.seeds import evaluate_folder
from alignment.report.markdown import markdown_table

_GRADES = ("significantly", "better", "slightly", "negligibly")
_PAIRS = {  # of reward/measure/own_pairs.py: what is asked, and of whose scores
    "right over wrong": "helpfulness",
    "right over wrong, the right one scored higher": "helpfulness",
    "gap from 0.5": "helpfulness",
    "safe over unsafe": "safety",
}


def own_answers_table(runs: Sequence[Path]) -> str:
    """The first version's models: by grade, and on the SFT model's own answers; "" where no run measured any."""
    found = [_read(run, "own_answers.json") for run in runs]
    if not any(found):
        return ""
    rows = [_header(runs)]
    matrices = [_read(run, "reward_versions.json") or [] for run in runs]
    for role in ("helpfulness", "safety", "watch"):
        for grade in _GRADES:
            shares = [_first(matrix, role, f"grade:{grade}") for matrix in matrices]
            if any(shares):
                rows.append((f"{role}, *{grade}*", *map(_share, shares)))
    for what, role in _PAIRS.items():
        shares = [_pair(measures, what, role) for measures in found]
        if any(shares):
            rows.append((f"own answers, {what}, {role} model", *map(_share, shares)))
    for chosen, said in (("combined", "best of {n} by the reward"), ("oracle", "best of {n} by the judge itself")):
        best = [_best(measures, chosen) for measures in found]
        if any(best):
            n = next(own["n"] for own in best if own)
            rows.append((f"{said.format(n=n)}, less greedy", *(_share(own and own["over_greedy"]) for own in best)))
    return markdown_table(rows)


def versions_table(runs: Sequence[Path]) -> str:
    """Accuracy of every version's helpfulness model on held-out answers of the model that it judges."""
    matrices = [{own["version"]: own for own in _read(run, "reward_versions.json") or []} for run in runs]
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix))
    if not names:
        return ""
    rows = [_header(runs)]
    for name in names:
        shares = [matrix.get(name, {}).get("accuracy", {}).get("helpfulness", {}).get("all") for matrix in matrices]
        rows.append((f"judging {name}", *map(_share, shares)))
    return markdown_table(rows)


def _header(runs: Sequence[Path]) -> tuple[str, ...]:
    return ("", *(run.name for run in runs))


def _read(run: Path, name: str) -> Any:
    file = evaluate_folder(run) / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _first(matrix: Sequence[Mapping[str, Any]], role: str, group: str) -> Any:
    return matrix[0]["accuracy"].get(role, {}).get(group) if matrix else None


def _helpful(measures: Any, campaign: str) -> Any:
    return next((own for own in (measures or {}).get("measures", ()) if own["campaign"] == campaign), None)


def _pair(measures: Any, what: str, role: str) -> Any:
    own = _helpful(measures, "safety" if role == "safety" else "helpfulness")
    return own["pairs"].get(what, {}).get(role) if own is not None else None


def _best(measures: Any, chosen: str) -> Any:
    own = _helpful(measures, "helpfulness")
    if own is None or not own["best"]:
        return None
    best = own["best"][0]
    return (best["oracle"] if chosen == "oracle" else best["chosen"].get(chosen, [None]))[-1]


def _share(share: Any) -> str:
    return f"{share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}]" if share else "–"
