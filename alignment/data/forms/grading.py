"""How much better: votes, score gaps, tiers, ranks and words as the paper's four grades (3.2.1).

No public file carries the four grade words; these tables are our reading of what files do carry.

| what the file has | significantly | better | slightly | negligibly | no pair |
|---|---|---|---|---|---|
| annotators' votes (for minus against, of all) | all | at least two thirds | less | most say tie | equal |
| score gap | from gaps[2] | from gaps[1] | from gaps[0] | above tie_gap | up to tie_gap |
| tier or rank distance | 3 and more | 2 | 1 | - | 0 |
| a word | `grades.words` | | | | |

With three annotators: 3 : 0 is significantly, 2 : 0 with a tie is better, 2 : 1 is slightly, 1 : 0 with two
ties is negligibly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alignment.data.forms.columns import RowFault, SkippedRow
from alignment.data.settings import GradeSettings, Rung
from alignment.records import Grade

Verdict = tuple[int, Grade | None]  # which answer is better (1 or 2), and by how much


def grade_votes(votes: Sequence[float]) -> Verdict:
    """Annotators' votes (0 tie, 1, 2) as a verdict.

    Raises:
        SkippedRow: as many for one as for the other.
        RowFault: a vote that is none of the three.
    """
    for vote in votes:
        if vote not in (0, 1, 2):
            raise RowFault("a grade outside its scale", f"vote {vote:g}; right are 0 (tie), 1 and 2")
    first, second = votes.count(1), votes.count(2)
    if first == second:
        raise SkippedRow("tie")
    lead = abs(first - second)
    grade: Grade
    if lead == len(votes):
        grade = "significantly"
    elif 2 * votes.count(0) > len(votes):
        grade = "negligibly"
    else:
        grade = "better" if 3 * lead >= 2 * len(votes) else "slightly"
    return (1 if first > second else 2), grade


def grade_scores(first: float, second: float, settings: GradeSettings) -> Verdict:
    """Two scores as a verdict; ungraded where the settings have no `gaps`.

    Raises:
        SkippedRow: the gap is no more than `tie_gap`.
    """
    gap = abs(first - second)
    if gap <= settings.tie_gap:
        raise SkippedRow("tie")
    better = 1 if first > second else 2
    if settings.gaps is None:
        return better, None
    grades: tuple[Grade, ...] = ("negligibly", "slightly", "better", "significantly")
    return better, grades[sum(gap >= bar for bar in settings.gaps)]


def grade_distance(distance: int) -> Grade:
    """A distance of tiers or ranks (1 and more) as a grade."""
    return "slightly" if distance == 1 else "better" if distance == 2 else "significantly"


def grade_word(value: Any, settings: GradeSettings) -> Grade:
    """A file's own grade (a word, or a number written as `grades.words` has it).

    Raises:
        RowFault: outside the scale.
    """
    words = {word.casefold(): grade for word, grade in settings.words.items()}
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, bool) or text.strip().casefold() not in words:
        raise RowFault("a grade outside its scale", f"{value!r}; right are {', '.join(words)}")
    return words[text.strip().casefold()]


def tier_on(ladder: Sequence[Rung], score: Callable[[str], float | None]) -> int | None:
    """The highest rung that an answer stands on (0: none), None where the scores do not tell.

    A rung without a score is not guessed: the answer's tier is known only if the next rung above the
    highest one that it stands on has a score (and is missed).

    Args:
        score: the answer's score in a column, None where there is none.
    """
    stands: list[bool | None] = []
    for rung in ladder:
        found = score(rung.column)
        stands.append(None if found is None else found >= rung.at_least)
    tier = max((number for number, stood in enumerate(stands, start=1) if stood), default=0)
    return tier if tier == len(stands) or stands[tier] is False else None
