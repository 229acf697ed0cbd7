"""What Ghost Attention brings to the report: consistency by turn, before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.report.figure import Figure, Series
from alignment.report.page import Block, Facts, Section, TurnByTurn
from alignment.report.table import Interval, Table
from alignment.train.report import curves, figures
from gatt.kept import read_instructions
from gatt.result import TurnShare, last_common_turn


def section(folder: Path, *, stage: str, result: Mapping[str, Any]) -> Section:
    """The section of the GAtt stage, from its folder and its result."""
    found = json.loads((folder / "gatt.json").read_text(encoding="utf-8"))
    blocks: list[Block] = []
    details: list[Block] = []
    for kind in found["before"]:
        before, after = found["before"][kind]["turns"], found["after"][kind]["turns"]
        title = f"Answers that follow the instruction, by turn ({_named(kind)})"
        blocks.append(
            Figure(
                title=title,
                kind="line",
                series=(_series("before", before), _series("after", after)),
                x_label="turn (the instruction stands only before the first)",
                y_label="share of answers",
                note="Bands are 95 % Wilson intervals.",
            )
        )
        details.append(_by_turn(title, before, after))
    blocks += [*_changed(found), *_attention(found)]
    details += _by_kind(found)
    blocks += [example for kind in found["before"] for example in _examples(found, kind)]
    details.append(Facts(title="Synthesis", items=tuple(figures(found["synthesis"]))))
    details.append(Facts(title="Fine-tuning", items=tuple(figures(result))))
    details += curves(folder)
    first, last = found["before"]["seen"]["turns"], found["after"]["seen"]["turns"]
    pair = last_common_turn([TurnShare(**row) for row in first], [TurnShare(**row) for row in last])
    summary = ""
    if pair:
        turn, dialogues = pair[0].turn, pair[1].dialogues
        summary = (
            f"instruction kept at turn {turn}: {pair[0].value:.0%} → {pair[1].value:.0%} of {dialogues:,} dialogues"
        )
    return Section(id=stage, title="Ghost Attention", blocks=tuple(blocks), details=tuple(details), summary=summary)


def instructions_by_version(path: Path) -> tuple[Table, ...]:
    """Every version's answers that follow the instruction, by turn; nothing where that was not measured."""
    found = read_instructions(path)
    turns = sorted({share.turn for consistency in found.values() for share in consistency.turns})
    if not turns:
        return ()
    rows = []
    for name, consistency in found.items():
        own = {share.turn: share for share in consistency.turns}
        cells = (own.get(turn) for turn in turns)
        rows.append((name, *(None if each is None else _interval(asdict(each)) for each in cells)))
    number = max(share.dialogues for consistency in found.values() for share in consistency.turns)
    note = (
        f"{number:,} held-out dialogues, each under one instruction that stands before the first turn alone; greedy "
        f"answers; 95 % Wilson intervals. No prompt of RLHF gives such instructions."
    )
    columns = ("version", *(f"turn {turn}" for turn in turns))
    return (Table(title="Answers that keep an instruction, by version", columns=columns, rows=tuple(rows), note=note),)


def _named(group: str) -> str:
    return f"{group} instructions" if " " not in group else group


def _more(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What was measured beyond consistency by turn, by model."""
    models = found.get("more", {})
    return {name: models[name][key] for name in ("before", "after") if key in models.get(name, {})}


def _changed(found: Mapping[str, Any]) -> list[Block]:
    """Dialogues whose instruction is exchanged midway: who keeps the new one, and who the old."""
    series = []
    for name, own in _more(found, "changed").items():
        late = [row for row in own["first"] if row["turn"] >= own["from_turn"]]
        series += [_series(f"{name}: the one that stands", own["standing"]), _series(f"{name}: still the first", late)]
        title = f"The instruction exchanged for another at turn {own['from_turn']}"
    if not series:
        return []
    note = "Bands are 95 % Wilson intervals. The paper names this as what its method does not teach (3.3)."
    x_label = "turn (the system message is exchanged, the answers so far stay)"
    return [
        Figure(title=title, kind="line", series=tuple(series), x_label=x_label, y_label="share of answers", note=note)
    ]


def _attention(found: Mapping[str, Any]) -> list[Block]:
    """Attention on the system message by turn, and on every part, the two models beside each other."""
    read = _more(found, "attention")
    if not read:
        return []
    number = max(own["dialogues"] for own in read.values())
    note = (
        f"The strongest weight of all layers and heads, mean over the tokens that predict an answer and over "
        f"{number:,} held-out dialogues; both models read the same text, in which every answer keeps the instruction."
    )
    blocks: list[Block] = [
        Figure(
            title="Attention on the instruction, by turn",
            kind="line",
            series=tuple(
                Series(name=name, x=tuple(range(1, len(own["by_turn"]) + 1)), y=tuple(own["by_turn"]))
                for name, own in read.items()
            ),
            x_label="turn whose answer is predicted",
            y_label="attention on the system message",
            note=note,
        )
    ]
    for name, own in read.items():
        parts = own["by_part"]
        blocks.append(
            Figure(
                title=f"Attention of each turn's answer on what came before ({name})",
                kind="heatmap",
                series=tuple(Series(name=f"turn {i}", x=(), y=tuple(row)) for i, row in enumerate(parts, start=1)),
                categories=("system", *(f"turn {i}" for i in range(1, len(parts) + 1))),
                x_label="attended to",
                y_label="answer",
                note="As above, the strongest weight on any token of the part (Llama 2 paper, figure 9).",
            )
        )
    return blocks


def _by_kind(found: Mapping[str, Any]) -> list[Block]:
    """Each kind of instruction at the first turn and at the last that both models came to."""
    kinds = _more(found, "by_kind")
    if len(kinds) < 2:
        return []
    rows = []
    for before, after in zip(kinds["before"], kinds["after"], strict=True):
        late = last_common_turn(*([TurnShare(**row) for row in one["turns"]] for one in (before, after)))
        if late is None:
            continue
        first = [_interval(one["turns"][0]) for one in (before, after)]
        last = [_interval(asdict(share)) for share in late]
        rows.append((before["group"], before["kind"], *first, late[0].turn, *last, late[1].dialogues, after["unasked"]))
    columns = (
        "group",
        "kind",
        "turn 1 before",
        "turn 1 after",
        "last turn",
        "last before",
        "last after",
        "dialogues",
        "unasked, after",
    )
    note = (
        "95 % Wilson intervals. `unasked` is the share of answers under instructions of other kinds that the same "
        "check passes: what a kind is kept above it was asked for."
    )
    return [Table(title="Answers that follow the instruction, by kind", columns=columns, rows=tuple(rows), note=note)]


def _by_turn(title: str, before: list[dict[str, float]], after: list[dict[str, float]]) -> Table:
    later = {row["turn"]: row for row in after}
    rows = tuple(
        (
            row["turn"],
            _interval(row),
            _interval(later[row["turn"]]) if row["turn"] in later else None,
            row["dialogues"],
        )
        for row in before
    )
    columns = ("turn", "before", "after", "dialogues")
    return Table(title=title, columns=columns, rows=rows, note="95 % Wilson intervals.")


def _series(name: str, rows: list[dict[str, float]]) -> Series:
    return Series(
        name=name,
        x=tuple(float(row["turn"]) for row in rows),
        y=tuple(float(row["value"]) for row in rows),
        low=tuple(float(row["low"]) for row in rows),
        high=tuple(float(row["high"]) for row in rows),
    )


def _interval(row: Mapping[str, float]) -> Interval:
    return Interval(value=row["value"], low=row["low"], high=row["high"])


def _examples(found: Mapping[str, Any], kind: str) -> list[Block]:
    """One held-out dialogue, each question with the answers before and after beside it; none where none was held."""
    held = {name: found[name][kind]["examples"][:1] for name in ("before", "after")}
    if not all(held.values()):
        return []
    models = {name: examples[0] for name, examples in held.items()}
    turns = []
    for at in range(max(len(example["exchanges"]) for example in models.values())):
        answers = tuple(
            (name, example["exchanges"][at][1], _FOUND[bool(example["kept"][at])])
            for name, example in models.items()
            if at < len(example["exchanges"])
        )
        question = next(e["exchanges"][at][0] for e in models.values() if at < len(e["exchanges"]))
        turns.append((question, answers))
    title = f"One dialogue turn by turn ({kind}{'' if ' ' in kind else ' instruction'})"
    return [TurnByTurn(title=title, instruction=models["before"]["instruction"], turns=tuple(turns))]


_FOUND = {True: "follows the instruction", False: "does not follow it"}
