"""What a reward model's training comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.records import GRADES
from alignment.train.result import TrainingResult


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often the chosen answer scores higher, a tie counting half.

    Attributes:
        low, high: 95 % Wilson interval.
        pairs: compared.
    """

    value: float
    low: float
    high: float
    pairs: int


def group_order(group: str) -> tuple[int, int, str]:
    """All pairs, then the grades from the clearest down, then the sources."""
    kind, _, name = group.partition(":")
    strength = -GRADES.index(name) if name in GRADES else 1
    return ({"all": 0, "grade": 1, "source": 2}[kind], strength, name)


@dataclass(frozen=True, kw_only=True)
class RewardEvaluation:
    """A reward model on held-out pairs; all empty where there are none.

    Attributes:
        accuracy: overall and by grade and source ("all", "grade:better", "source:rows.jsonl").
        mean_gap: mean score gap of chosen and rejected, by the same groups.
        safety: `answers`, `unsafe_share`, `recall_of_unsafe` and `precision_of_unsafe` at sigma(r) < 0.5, and
            `area_under_curve`; empty where no answer is labelled.
        scores: a histogram of the scores: `counts` and `edges`.
    """

    accuracy: Mapping[str, Share] = field(default_factory=dict)
    mean_gap: Mapping[str, float] = field(default_factory=dict)
    safety: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `evaluation.json` holds."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RewardResult:
    """A finished reward model.

    Attributes:
        training: its held-out figures are `loss` and `accuracy`, single labelled answers included.
        evaluation: of the trained model on held-out pairs.
        pairs, held_out_pairs: examples trained and tested on, single labelled answers included.
        too_long: examples left out because they do not fit the context.
    """

    training: TrainingResult
    evaluation: RewardEvaluation
    pairs: int
    held_out_pairs: int
    too_long: int

    @property
    def headline(self) -> str:
        """The one figure that a table shows."""
        accuracy = self.evaluation.accuracy.get("all")
        return self.training.headline if accuracy is None else f"accuracy {accuracy.value:.4g}"

    def as_json(self) -> dict[str, Any]:
        """What `stage.json` holds."""
        counts = {"pairs": self.pairs, "held_out_pairs": self.held_out_pairs, "too_long": self.too_long}
        found = self.evaluation.accuracy.get("all")
        own = {name: value for name, value in self.training.as_json().items() if name != "accuracy"}
        accuracy = {} if found is None else {"accuracy": found.value}  # the one that the page shows too
        return {**own, **accuracy, **counts, "evaluation": self.evaluation.as_json()}
