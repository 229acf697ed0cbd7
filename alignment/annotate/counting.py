"""Collected preferences counted: what became of every pair, who is preferred, how far annotators agree.  No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from alignment.annotate.annotator import Question, Verdict
from alignment.annotate.judging import Judged
from alignment.annotate.pairs import Pairs
from alignment.annotate.result import CampaignCounts, TwiceJudged
from alignment.records import GRADES, Dialogue, Preference
from alignment.report.intervals import wilson

TRAIN, WATCH, HELD_OUT = (
    "train",
    "watch",
    "held_out",
)  # of a record's `meta["part"]`: which sources of a data set read it


def count_campaigns(
    shown: Sequence[tuple[Dialogue, Pairs]],
    questions: Sequence[Question],
    judged: Judged,
    records: Sequence[Preference],
) -> dict[str, CampaignCounts]:
    """Campaign -> what became of its pairs."""
    found: dict[str, CampaignCounts] = defaultdict(CampaignCounts)
    for prompt, pairs in shown:
        counts = found[campaign_of(prompt)]
        counts.prompts += 1
        counts.pairs += pairs.drawn
        counts.identical += pairs.identical
        counts.repeated += pairs.repeated
    for question in questions:
        counts, verdict = found[question.campaign], judged.first.get(question.key)
        counts.set_aside += verdict is None
        counts.unsure += verdict is not None and not verdict.preferred
        counts.excluded += verdict is not None and verdict.prefers_unsafe
    for record in records:
        counts = found[str(record.meta["campaign"])]
        counts.records += 1
        counts.watch += record.meta["part"] == WATCH
        counts.held_out += record.meta["part"] == HELD_OUT
    return dict(found)


def count_preferred(records: Sequence[Preference]) -> dict[str, tuple[int, int]]:
    """Variant at a temperature -> (preferences that one of its answers is in, how many prefer it)."""
    preferred = Counter(str(record.meta["chosen_from"]) for record in records)
    rejected = Counter(str(record.meta["rejected_from"]) for record in records)
    return {way: (preferred[way] + rejected[way], preferred[way]) for way in sorted({*preferred, *rejected})}


def count_grades(records: Sequence[Preference]) -> dict[str, int]:
    """Grade -> preferences, the strongest first."""
    found = Counter(record.grade for record in records)
    return {grade: found[grade] for grade in reversed(GRADES)}


def count_people(records: Sequence[Preference]) -> dict[str, int]:
    """Annotator -> preferences."""
    return dict(sorted(Counter(str(record.meta["annotator"]) for record in records).items()))


def agreement_of(judged: Judged) -> TwiceJudged:
    """How far the two verdicts on the questions asked twice agree."""
    both: list[tuple[Verdict, Verdict]] = [
        (judged.first[key], second) for key, second in judged.second.items() if key in judged.first
    ]
    if not both:
        return TwiceJudged(pairs=0)
    choice = sum(one.preferred == other.preferred for one, other in both)
    grade = sum((one.preferred, one.grade) == (other.preferred, other.grade) for one, other in both)
    return TwiceJudged(pairs=len(both), same_choice=wilson(choice, len(both)), same_grade=wilson(grade, len(both)))


def campaign_of(prompt: Dialogue) -> str:
    """Whose guidelines hold for a prompt."""
    return str(prompt.meta.get("campaign", "helpfulness"))
