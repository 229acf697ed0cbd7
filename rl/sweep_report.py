"""What the temperatures that a version tried bring to its chapter (Llama 2 paper, figures 7 and 8).  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.evaluate.judge_words import REWARD
from alignment.report.figure import Figure, Series
from alignment.report.table import Interval, Table

_CHOSEN_BY = {
    "watch": "It is the one whose best of K is rewarded most, of those whose kept answers do not lose to the model's "
    "greedy answers by the watch model.",
    "reward": "It is the one whose best of K is rewarded most; nobody watched whether these answers are better.",
    "none": "At none of them do the kept answers hold their own against the greedy ones by the watch model: it is the "
    "lowest.",
}


def sweep_figures(sweep: Mapping[str, Any] | None) -> tuple[Figure, ...]:
    """The best of N at each temperature; best and median of N at the chosen one.  None where none were tried."""
    if not sweep:
        return ()
    return (*_by_temperature(sweep), *_best_and_median(sweep))


def sweep_table(sweep: Mapping[str, Any] | None) -> tuple[Table, ...]:
    """Temperature by temperature: the best of K, the median, and what would be kept less the greedy answers."""
    if not sweep:
        return ()
    watched = {"watch": "watch model", "wins": "outside watch model, comparisons won over one half"}
    by = next((name for name in watched if any(name in each["over_greedy"] for each in sweep["temperatures"])), None)
    compared = {"reward": "kept less greedy, reward", **({by: f"kept less greedy, {watched[by]}"} if by else {})}
    rows = tuple(
        (
            f"{each['temperature']:g}",
            _interval(each["best_by_n"].get(str(sweep["samples"]))),
            float(each["median_by_n"]["1"]),
            float(each["usable_share"]),
            *(_interval(each["over_greedy"].get(name)) for name in compared),
            "chosen" if each["temperature"] == sweep["chosen"] else "loses" if each["stands"] is False else "",
        )
        for each in sweep["temperatures"]
    )
    unjudged = sum(each["without_verdict"] for each in sweep["temperatures"])
    return (
        Table(
            title="Temperatures tried",
            columns=("T", f"best of {sweep['samples']}", "one answer", "usable share", *compared.values(), "taken"),
            rows=rows,
            note=f"{sweep['prompts']:,} of the version's prompts, {sweep['samples']:,} answers each; rewards before "
            f"the sigmoid, 95 % intervals over prompts. T {sweep['chosen']:g} was taken. "
            + _CHOSEN_BY[sweep["chosen_by"]]
            + (f" The outside watch model gave no verdict on {unjudged:,} answers." if unjudged else ""),
            scored_by=REWARD,
        ),
    )


def _by_temperature(sweep: Mapping[str, Any]) -> tuple[Figure, ...]:
    series = tuple(
        _line(f"T {each['temperature']:g}", each["best_by_n"]) for each in sweep["temperatures"] if each["best_by_n"]
    )
    if not series:
        return ()
    return (
        Figure(
            title="Best of N by temperature",
            kind="line",
            series=series,
            x_label="N, answers drawn for a prompt",
            y_label="mean combined reward",
            note="Means over the prompts that have a usable answer at every temperature. The reward model picks and "
            "scores: that a line stands higher is its own word, and the watch model's is in the table.",
        ),
    )


def _best_and_median(sweep: Mapping[str, Any]) -> tuple[Figure, ...]:
    chosen = next(each for each in sweep["temperatures"] if each["temperature"] == sweep["chosen"])
    if not chosen["best_by_n"]:
        return ()
    medians = sorted((int(n), float(value)) for n, value in chosen["median_by_n"].items())
    median = Series(name="median of N", x=tuple(n for n, _ in medians), y=tuple(value for _, value in medians))
    return (
        Figure(
            title=f"Best and median of N at T {sweep['chosen']:g}",
            kind="line",
            series=(_line("best of N", chosen["best_by_n"], banded=True), median),
            x_label="N, answers drawn for a prompt",
            y_label="mean combined reward",
            note="The best one of usable answers, the median of all; the gap is what rejection sampling could gain if "
            "the reward were right.",
        ),
    )


def _line(name: str, by_n: Mapping[str, Mapping[str, float]], *, banded: bool = False) -> Series:
    cells = sorted((int(n), cell) for n, cell in by_n.items())
    ends = {end: tuple(cell[end] for _, cell in cells) for end in ("low", "high")} if banded else {}
    return Series(
        name=name,
        x=tuple(n for n, _ in cells),
        y=tuple(cell["value"] for _, cell in cells),
        low=ends.get("low"),
        high=ends.get("high"),
    )


def _interval(cell: Mapping[str, float] | None) -> Interval | None:
    return Interval(**cell) if cell is not None else None
