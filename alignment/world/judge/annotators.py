"""Simulated annotators: Bradley-Terry choices on the gold judge's scale, each with a taste and a noise of its own.

Llama 2 paper, 3.2.1: the annotator must choose, and says how much better in four grades.  Here the
perceived gap is (utility of A) - (utility of B) + taste + logistic noise; its sign is the choice (which
makes the choice Bradley-Terry in the gap over the noise), its size the grade.  They judge whatever answers they are
shown, whoever wrote them.

This file alone imports the gold judge on the way to training (`tests/house/test_gold_judge.py`): what a reward model
learns of the truth it learns from these noisy, biased comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignment.randomness import named_generator
from alignment.records import GRADES, Dialogue, Grade, Preference
from alignment.world.judge.gold import GoldJudge, Verdict
from alignment.world.settings import WorldSettings
from alignment.world.town.town import Town

# perceived gaps from which a grade is given, the weakest first
GRADE_FROM: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5)
SAFETY_SHARE = 0.65  # of what an answer to an unsafe prompt is worth in the safety campaign; helpfulness is the rest
SAFE_FROM = 0.5  # gold safety from which an answer is labelled safe


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """One annotator.

    Attributes:
        length_taste: utility for each ten words more.
        courtesy_taste: utility for politeness beyond the gold judge's.
        noise: scale of the logistic noise on a perceived gap.
    """

    name: str
    length_taste: float
    courtesy_taste: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One comparison: whether the first answer was chosen, and how strongly."""

    annotator: str
    first_chosen: bool
    grade: Grade
    gap: float  # perceived, first minus second


class Annotators:
    """A pool of annotators of one town."""

    def __init__(self, settings: WorldSettings, town: Town) -> None:
        self._judge = GoldJudge(town)
        self._by_name: dict[str, Annotator] = {}
        for i in range(settings.num_annotators):
            draw = named_generator(settings.seed, "world", "annotator", i)
            length, courtesy_taste = draw.normal(0.0, settings.annotator_bias, size=2)
            noise = settings.annotator_noise * float(np.exp(draw.normal(0.0, 0.25)))
            name = f"annotator-{i + 1}"
            self._by_name[name] = Annotator(
                name=name, length_taste=float(length), courtesy_taste=float(courtesy_taste), noise=noise
            )

    @property
    def names(self) -> tuple[str, ...]:
        """All annotators, in order."""
        return tuple(self._by_name)

    def annotator(self, name: str) -> Annotator:
        """The annotator of that name."""
        return self._by_name[name]

    def annotate(
        self, prompt: Dialogue, first: str, second: str, campaign: str, name: str, draw: np.random.Generator
    ) -> Annotation:
        """One annotator's comparison of two answers."""
        who = self._by_name[name]
        gap = self._utility(who, prompt, first, campaign) - self._utility(who, prompt, second, campaign)
        gap += float(draw.logistic(0.0, who.noise))
        return Annotation(annotator=name, first_chosen=gap > 0, grade=grade_of(gap), gap=gap)

    def compare(
        self, prompt: Dialogue, first: str, second: str, campaign: str, name: str, draw: np.random.Generator
    ) -> Preference | None:
        """The comparison as a row of preference data.

        Returns:
            None where the safety campaign drops the pair: the chosen answer unsafe, the other one safe
            (Llama 2 paper, 3.2.1).
        """
        said = self.annotate(prompt, first, second, campaign, name, draw)
        chosen, rejected = (first, second) if said.first_chosen else (second, first)
        labels: list[bool | None] = [None, None]
        if campaign == "safety":
            labels = [self._judge.verdict(prompt, text).safety >= SAFE_FROM for text in (chosen, rejected)]
            if not labels[0] and labels[1]:
                return None
        return Preference(
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            source=prompt.source,
            grade=said.grade,
            chosen_safe=labels[0],
            rejected_safe=labels[1],
            meta={
                "campaign": campaign,
                "annotator": name,
                "gold_gap": self.gold_gap(prompt, chosen, rejected, campaign),
                "task": prompt.meta["task"],
                "split": prompt.meta.get("split"),
            },
        )

    def _utility(self, who: Annotator, prompt: Dialogue, text: str, campaign: str) -> float:
        verdict = self._judge.verdict(prompt, text)
        taste = who.length_taste * min(len(text.split()), 40) / 10
        taste += who.courtesy_taste * (verdict.parts["polite"] - 0.5)
        return utility(verdict, campaign, unsafe=is_unsafe(prompt)) + taste

    def gold_gap(self, prompt: Dialogue, first: str, second: str, campaign: str) -> float:
        """The gap that an annotator without taste and noise would see: first minus second."""
        values = [
            utility(self._judge.verdict(prompt, text), campaign, unsafe=is_unsafe(prompt)) for text in (first, second)
        ]
        return values[0] - values[1]


def is_unsafe(prompt: Dialogue) -> bool:
    """Whether a prompt of the world must be refused."""
    return bool(prompt.meta["truth"]["form"] == "refuse")


def utility(verdict: Verdict, campaign: str, *, unsafe: bool) -> float:
    """What a campaign's guidelines ask for: helpfulness; of unsafe prompts safety first and helpfulness second.

    The safety campaign's fine prompts go by helpfulness alone: there a refusal is the fault.
    """
    if campaign == "helpfulness" or not unsafe:
        return verdict.helpfulness
    return SAFETY_SHARE * verdict.safety + (1 - SAFETY_SHARE) * verdict.helpfulness


def grade_of(gap: float) -> Grade:
    """The grade of a perceived gap."""
    return GRADES[max(i for i, least in enumerate(GRADE_FROM) if abs(gap) >= least)]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well annotators agree on the same comparisons.

    Attributes:
        between: share of pairs of annotators that choose the same answer.
        with_judge: share of choices that are the gold judge's (comparisons without a gold gap left out).
        by_grade: grade -> (choices of that grade, share of them that are the judge's).
        ac1: Gwet's AC1 of the choice (chance-corrected; the paper gives Gwet's AC2 for its ratings).
    """

    comparisons: int
    between: float
    with_judge: float
    by_grade: dict[str, tuple[int, float]]
    ac1: float


def agreement(
    annotators: Annotators, pairs: Sequence[tuple[Dialogue, str, str]], campaign: str, seed: int
) -> Agreement:
    """Let every annotator compare every pair.

    Args:
        pairs: prompts with two different answers each.
        seed: names the noise's stream.
    """
    same, with_judge, first_share = [], [], []
    by_grade: dict[str, list[bool]] = {grade: [] for grade in GRADES}
    for i, (prompt, first, second) in enumerate(pairs):
        gold = annotators.gold_gap(prompt, first, second, campaign)
        votes = []
        for name in annotators.names:
            draw = named_generator(seed, "world", "agreement", i, name)
            said = annotators.annotate(prompt, first, second, campaign, name, draw)
            votes.append(said.first_chosen)
            if abs(gold) > 1e-9:
                with_judge.append(said.first_chosen == (gold > 0))
                by_grade[said.grade].append(with_judge[-1])
        n, yes = len(votes), sum(votes)
        same.append((yes * (yes - 1) + (n - yes) * (n - yes - 1)) / (n * (n - 1)))
        first_share.append(yes / n)
    observed, share = float(np.mean(same)), float(np.mean(first_share))
    chance = 2 * share * (1 - share)
    return Agreement(
        comparisons=len(pairs),
        between=observed,
        with_judge=float(np.mean(with_judge)),
        by_grade={grade: (len(v), float(np.mean(v)) if v else float("nan")) for grade, v in by_grade.items()},
        ac1=(observed - chance) / (1 - chance),
    )
