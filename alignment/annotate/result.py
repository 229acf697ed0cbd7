"""What collecting preferences comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from alignment.evaluate.spent import Spent
from alignment.report.table import Interval

COLLECT_FILE = "collect.json"


@dataclass(kw_only=True)
class CampaignCounts:
    """One campaign; pairs drawn = identical + repeated + unsure + excluded + set aside + records.

    Attributes:
        prompts: whose answers were paired.
        pairs: drawn.
        identical: never asked, since both answers are the same.
        repeated: never asked again, since another pair has the same two answers.
        unsure: no answer is the better one.
        excluded: the preferred answer is unsafe and the other one safe (paper, 3.2.1).
        set_aside: no verdict.
        records: preferences written, those of validation prompts (`held_out`) and those kept for the watch model
            (`watch`) among them.
    """

    prompts: int = 0
    pairs: int = 0
    identical: int = 0
    repeated: int = 0
    unsure: int = 0
    excluded: int = 0
    set_aside: int = 0
    records: int = 0
    held_out: int = 0
    watch: int = 0


@dataclass(frozen=True, kw_only=True)
class TwiceJudged:
    """How far annotators agree on the pairs that two of them compared.

    Attributes:
        pairs: with two verdicts.
        same_choice: the share that prefers the same answer (or is unsure both times); None without a pair.
        same_grade: the share with the same choice and grade.
    """

    pairs: int
    same_choice: Interval | None = None
    same_grade: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What asking an outside model came to.

    Attributes:
        spent: requests and tokens, of probes and failures too.
        probes: pairs whose worse answer tells whoever compares to prefer it (annotate/probes.py).
        followed: of the probes, how many it was talked into.
        without_verdict: of the probes, how many got none.
    """

    spent: Spent
    probes: int
    followed: int
    without_verdict: int = 0


@dataclass(frozen=True, kw_only=True)
class CollectResult:
    """Preferences collected.

    Attributes:
        annotator: words for who compared.
        records: preferences written.
        answers: drawn.
        unusable: of them empty, with a chat marker or, unless such are kept, cut at the limit: they are in no pair.
        prompts_left_out: they leave no room for an answer.
        campaigns: campaign -> its counts.
        grades: grade -> preferences.
        chosen: variant at a temperature -> (preferences that one of its answers is in, how many prefer it).
        people: annotator -> first verdicts that are preferences.
        asked: what the outside model cost and obeyed; None where another annotator compared.
    """

    annotator: str
    records: int
    answers: int
    unusable: int
    cut: int
    mean_answer_tokens: float
    prompts_left_out: int
    campaigns: Mapping[str, CampaignCounts]
    grades: Mapping[str, int]
    chosen: Mapping[str, tuple[int, int]]
    people: Mapping[str, int]
    agreement: TwiceJudged
    asked: Asked | None = None

    def as_json(self) -> dict[str, Any]:
        """What `collect.json` holds."""
        found = asdict(self) | {"chosen": {way: list(counts) for way, counts in self.chosen.items()}}
        if self.asked is None:
            del found["asked"]
        return found
