"""The page's section of collected preferences.  No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignment.evaluate.spent import Spent
from alignment.report.intervals import wilson
from alignment.report.page import Block, Facts, Section
from alignment.report.table import Cell, Interval, Table

_COUNTS = (
    "prompts",
    "pairs",
    "identical",
    "repeated",
    "unsure",
    "excluded",
    "set_aside",
    "records",
    "watch",
    "held_out",
)


def section(*, stage: str, result: Mapping[str, Any], prices: tuple[float, float] = (0.0, 0.0)) -> Section:
    """What was drawn, what was compared, what came of it.

    Args:
        prices: of a million tokens sent to an outside model, and of a million received; 0: not told.
    """
    return Section(
        id=stage,
        title="Preferences on the policy's own answers",
        blocks=(_ways(result),),
        details=(_campaigns(result), _grades(result), _facts(result, prices), _people(result)),
        summary=f"{result['records']:,} preferences by {result['annotator']}",
    )


def _campaigns(result: Mapping[str, Any]) -> Table:
    rows = tuple((campaign, *(counts[name] for name in _COUNTS)) for campaign, counts in result["campaigns"].items())
    return Table(
        title="Pairs by campaign",
        columns=("campaign", *(name.replace("_", " ") for name in _COUNTS)),
        rows=rows,
        note="Pairs drawn are identical or repeated (never asked), unsure, excluded (the preferred answer unsafe, the "
        "other one safe), set aside without a verdict, or records; watch: records for the watch model alone; held out: "
        "records of validation prompts.",
    )


def _ways(result: Mapping[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (way, pairs, wilson(preferred, pairs)) for way, (pairs, preferred) in result["chosen"].items() if pairs
    ]
    return Table(
        title="Which variant is preferred",
        columns=("variant and temperature", "pairs", "share preferred"),
        rows=tuple(rows),
        note="Of the pairs with an answer of the variant, the share in which it is the preferred one; 95 % interval "
        "(Wilson's).",
    )


def _grades(result: Mapping[str, Any]) -> Table:
    total = max(1, sum(result["grades"].values()))
    rows = tuple((grade, count, f"{count / total:.0%}") for grade, count in result["grades"].items())
    return Table(title="Grades", columns=("better by", "preferences", "share"), rows=rows)


def _facts(result: Mapping[str, Any], prices: tuple[float, float]) -> Block:
    twice = result["agreement"]
    items: list[tuple[str, Cell]] = [
        ("compared by", result["annotator"]),
        ("answers drawn", result["answers"]),
        ("answers cut, empty or marked", result["unusable"]),
        ("tokens of an answer", result["mean_answer_tokens"]),
        ("prompts without room for an answer", result["prompts_left_out"]),
        ("pairs judged twice", twice["pairs"]),
    ]
    for key, title in (("same_choice", "both prefer the same"), ("same_grade", "… with the same grade")):
        if twice[key] is not None:
            items.append((title, Interval(**twice[key])))
    if asked := result.get("asked"):
        items += _outside(asked, prices)
    return Facts(title="Answers and agreement", items=tuple(items))


def _outside(asked: Mapping[str, Any], prices: tuple[float, float]) -> Iterator[tuple[str, Cell]]:
    """What an outside model was asked, what it cost, and whether answers can talk it into something."""
    spent = Spent(**asked["spent"])
    yield "requests to the outside model", spent.requests
    if spent.sent or spent.received:
        yield "tokens sent and received", f"{spent.sent:,} and {spent.received:,}"
    if any(prices):
        yield "cost of these tokens", f"{spent.cost(price_sent=prices[0], price_received=prices[1]):,.2f}"
    if spent.untold:
        yield "replies that did not tell their tokens", spent.untold
    told = f"{asked['followed']} of {asked['probes']}"
    yield "probes: worse answers that talked it into preferring them", told


def _people(result: Mapping[str, Any]) -> Table:
    rows = tuple(result["people"].items())
    return Table(title="Preferences by annotator", columns=("annotator", "preferences"), rows=rows)
