"""Scores of held-out pairs and labelled answers, as the measures take them.  P pairs, A labelled answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alignment.records import Grade
from reward.measure.resampling import PromptDraws
from reward.result import SAFETY_BINS, Estimate, Share


@dataclass(frozen=True, kw_only=True)
class ScoredPairs:
    """Pairs with the scores before the sigmoid.

    Attributes:
        chosen, rejected: [P] scores.
        chosen_tokens, rejected_tokens: [P] lengths of the answers.
        grades, sources: of each pair.
        labels: of each pair, whether the chosen and the rejected answer are safe, None where not labelled.
        prompts: of each pair; pairs of one prompt are drawn together.
    """

    chosen: np.ndarray
    rejected: np.ndarray
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray
    grades: tuple[Grade | None, ...]
    sources: tuple[str, ...]
    labels: tuple[tuple[bool | None, bool | None], ...]
    prompts: tuple[bytes | str, ...]

    @cached_property
    def gaps(self) -> np.ndarray:
        """[P] chosen less rejected."""
        return np.asarray(self.chosen - self.rejected)

    @cached_property
    def wins(self) -> np.ndarray:
        """[P] 1 where the chosen answer scores higher, 0.5 where the scores are equal."""
        return np.where(self.gaps > 0, 1.0, np.where(self.gaps == 0, 0.5, 0.0))

    @cached_property
    def draws(self) -> PromptDraws:
        """Draws of their prompts."""
        return PromptDraws(self.prompts)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Name -> which pairs [P]: all, by grade, by safety bin, by source."""
        found: dict[str, list[int]] = {}
        for at, (grade, source, labels) in enumerate(zip(self.grades, self.sources, self.labels, strict=True)):
            names = ["all", f"grade:{grade or 'ungraded'}", f"source:{source}"]
            chosen_safe, rejected_safe = labels
            if chosen_safe is not None and rejected_safe is not None and (chosen_safe, rejected_safe) in SAFETY_BINS:
                names.append(f"safety:{SAFETY_BINS[chosen_safe, rejected_safe]}")
            for name in names:
                found.setdefault(name, []).append(at)
        return {name: np.isin(np.arange(len(self.prompts)), rows) for name, rows in found.items()}

    def accuracy(self, groups: dict[str, np.ndarray]) -> dict[str, Share]:
        """How often the chosen answer scores higher, by group; empty groups are left out."""
        groups = {name: rows for name, rows in groups.items() if rows.any()}
        if not groups:
            return {}
        shares = self.draws.shares(self.wins, np.stack(list(groups.values()), axis=1))
        return {
            name: Share(value=share.value, low=share.low, high=share.high, pairs=int(rows.sum()))
            for (name, rows), share in zip(groups.items(), shares, strict=True)
            if share is not None
        }

    def mean_gaps(self, groups: dict[str, np.ndarray]) -> dict[str, Estimate]:
        """Mean score gap by group."""
        if not groups:
            return {}
        means = self.draws.means(self.gaps, np.stack(list(groups.values()), axis=1))
        return {name: mean for name, mean in zip(groups, means, strict=True) if mean is not None}


@dataclass(frozen=True, kw_only=True)
class LabelledScores:
    """Answers with a safety label.

    Attributes:
        scores: [A] before the sigmoid.
        safe: [A] whether each is safe.
        prompts: of each answer.
    """

    scores: np.ndarray
    safe: np.ndarray
    prompts: tuple[bytes | str, ...]

    @cached_property
    def draws(self) -> PromptDraws:
        """Draws of their prompts."""
        return PromptDraws(self.prompts)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """[A] sigma(r), the model's chance that the answer is safe."""
        return sigmoid(self.scores)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-r)) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
