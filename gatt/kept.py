"""Which versions keep an instruction, as the evaluation's folder tells it: read, made figures, and said.  No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from gatt.result import Consistency

FILE = "instructions.json"
_KEPT = TypeAdapter(Consistency)


def read_instructions(path: Path) -> dict[str, Consistency]:
    """What `instructions.json` holds; nothing where the evaluation did not ask for it."""
    found = json.loads(path.read_bytes()) if path.is_file() else []
    return {entry["version"]: _KEPT.validate_python(entry["kept"]) for entry in found}


def instruction_figures(path: Path) -> dict[str, float]:
    """The share of answers that keep the instruction, by version and turn, as a study compares them."""
    return {
        f"{name}, instruction kept: turn {share.turn}": share.value
        for name, consistency in read_instructions(path).items()
        for share in consistency.turns
    }


def kept_figures(path: Path) -> dict[str, float]:
    """Of a stage's `gatt.json`, what a study compares: the share kept by group, model and turn; what was made."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_bytes())
    figures = {
        f"{group} instructions kept {model}: turn {share['turn']}": share["value"]
        for model in ("before", "after")
        for group, kept in found[model].items()
        for share in kept["turns"]
    }
    return figures | {f"synthesis: {name.replace('_', ' ')}": value for name, value in found["synthesis"].items()}


def lost_instructions(found: Mapping[str, Consistency], before: str, after: str) -> str:
    """The sentence that says that instructions were unlearnt between two models; "" where the intervals overlap."""
    turns = [found[name].turns[:1] for name in (before, after) if name in found]
    if len(turns) < 2 or not all(turns):
        return ""
    (earlier,), (later,) = turns
    if later.high >= earlier.low:
        return ""
    return (
        f"instructions are unlearnt: {before} keeps {earlier.value:.0%} of them in its first answer, {after} "
        f"{later.value:.0%}; mix in demonstrations that keep some (rlhf.rejection.sft_share and sft_source)"
    )
