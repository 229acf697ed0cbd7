"""How varied a model's answers are: which set phrases it uses, and how much its answers share.  Pure.

A policy that is trained on a reward collapses to the phrases that it pays for; the mean score does not show it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Used:
    """Which of some phrases stand in answers.

    Attributes:
        effective: exp of the entropy of their shares: as many phrases, used alike, would be as varied; 0 where none is.
        distinct: how many of them are used at all.
        answers: answers with one of them.
    """

    effective: float
    distinct: int
    answers: int

    def __str__(self) -> str:
        return f"{self.effective:.1f} ({self.distinct} in {self.answers:,})"


def used(answers: Sequence[str], phrases: Sequence[str], *, at: Literal["start", "end", "anywhere"]) -> Used:
    """Count each phrase in the answers; an answer counts for the first phrase that it has."""
    has = {"start": str.startswith, "end": str.endswith, "anywhere": str.__contains__}[at]
    counts = Counter(
        phrase for answer in answers if (phrase := next((p for p in phrases if has(answer, p)), None)) is not None
    )
    whole = sum(counts.values())
    entropy = -sum(count / whole * math.log(count / whole) for count in counts.values())
    return Used(effective=math.exp(entropy) if whole else 0.0, distinct=len(counts), answers=whole)


def repeated_ngrams(answers: Sequence[str], longest: int = 4) -> float:
    """Self-BLEU: each answer's BLEU-4 with all others as references, the mean (Zhu et al. 2018, Texygen, 3.2).

    Words are what blanks part.  A reference as long as the answer is nearly always among so many, so there is no
    brevity penalty; an order that an answer is too short for is left out.  1: every n-gram of every answer stands in
    another one.
    """
    texts = [answer.split() for answer in answers]
    held = [_holders(texts, n) for n in range(1, longest + 1)]
    scores = []
    for number, words in enumerate(texts):
        logs = []
        for n, holders in enumerate(held, start=1):
            grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
            if not grams:
                continue
            shared = sum(
                min(count, max((c for other, c in holders[gram] if other != number), default=0))
                for gram, count in grams.items()
            )
            logs.append(math.log(max(shared, 1e-9) / sum(grams.values())))
        if logs:
            scores.append(math.exp(sum(logs) / len(logs)))
    return sum(scores) / len(scores) if scores else 0.0


def _holders(texts: Sequence[Sequence[str]], n: int) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    """n-gram -> the texts that hold it, each with how often; of each gram the two that hold it most."""
    found: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for number, words in enumerate(texts):
        for gram, count in Counter(zip(*(words[i:] for i in range(n)), strict=False)).items():
            best = found.setdefault(gram, [])
            best.append((number, count))
            best.sort(key=lambda one: -one[1])
            del best[2:]
    return found
