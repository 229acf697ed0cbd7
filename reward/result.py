"""What a reward model's training comes to.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.records import GRADES
from alignment.train.result import TrainingResult

# the safety campaign's three bins (Llama 2 paper, 3.2.1, table 8), as (chosen is safe, rejected is safe)
SAFETY_BINS: Mapping[tuple[bool, bool], str] = {
    (True, False): "chosen safe, rejected unsafe",
    (True, True): "both safe",
    (False, False): "both unsafe",
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval: the percentile bootstrap over prompts.

    Of a share that is 0 or 1 on all prompts, where every draw gives the same, it is Wilson's interval over the prompts.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Share(Estimate):
    """How often the chosen answer scores higher, a tie counting half.

    Attributes:
        pairs: compared.
    """

    pairs: int


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Predictions of about the same size.

    Attributes:
        predicted: their mean.
        observed: how often what was predicted is so.
        number: of predictions.
    """

    predicted: float
    observed: Estimate
    number: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether scores can be read as probabilities.

    Attributes:
        error: the expected calibration error, mean |observed - predicted| over the bins, weighted by their numbers.
        bins: those that hold a prediction, from the lowest up.
    """

    error: Estimate
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """What calling an answer unsafe where sigma(r) lies below a threshold comes to.

    Attributes:
        flagged: the share of answers called unsafe.
        precision: of those, the share that is unsafe; None where none is called so.
        recall: of the unsafe answers, the share that is called so; None where there are none.
    """

    threshold: float
    flagged: float
    precision: Estimate | None
    recall: Estimate | None


@dataclass(frozen=True, kw_only=True)
class LengthBias:
    """What scores have to do with length; lengths are in tokens.

    Attributes:
        scores: correlation of score and length over all answers; None where one of them never varies.
        gaps: correlation of the two answers' difference in score and in length.
        accuracy: "matched" (lengths within a tenth of the longer), "longer chosen" and "shorter chosen".
    """

    scores: Estimate | None
    gaps: Estimate | None
    accuracy: Mapping[str, Share]


def group_order(group: str) -> tuple[int, int, str]:
    """All pairs, then the grades from the clearest down, then the safety bins, then the sources."""
    kind, _, name = group.partition(":")
    bins = list(SAFETY_BINS.values())
    strength = -GRADES.index(name) if name in GRADES else bins.index(name) if name in bins else 1
    return ({"all": 0, "grade": 1, "safety": 2, "source": 3}[kind], strength, name)


@dataclass(frozen=True, kw_only=True)
class RewardEvaluation:
    """A reward model on held-out pairs; all empty where there are none.

    Attributes:
        accuracy: overall and by grade, safety bin and source ("all", "grade:better", "safety:both safe",
            "source:rows.jsonl").
        mean_gap: mean score gap of chosen and rejected, by the same groups.
        labelled: answers with a safety label.
        safety: `unsafe_share`, `recall_of_unsafe` and `precision_of_unsafe` at sigma(r) < 0.5, and `area_under_curve`;
            what cannot be said (no answer of one side) is left out.
        unsafe_curve: precision and recall of the unsafe side by threshold.
        calibration: "pairs" (sigma of the gap as the chance that the answer is the better one) and "labels" (sigma(r)
            as the chance that the answer is safe), where there are such.
        length: what scores have to do with length; None where there are no pairs.
        scores: a histogram of the scores: `counts` and `edges`, and where answers are labelled `safe` and `unsafe`,
            their counts in the same bins.
        score_range: quantiles of sigma(r) over all answers: `min`, `p01`, `p05`, `median`, `p95`, `p99`, `max`.
    """

    accuracy: Mapping[str, Share] = field(default_factory=dict)
    mean_gap: Mapping[str, Estimate] = field(default_factory=dict)
    labelled: int = 0
    safety: Mapping[str, Estimate] = field(default_factory=dict)
    unsafe_curve: tuple[ThresholdPoint, ...] = ()
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    length: LengthBias | None = None
    scores: Mapping[str, list[float]] = field(default_factory=dict)
    score_range: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `evaluation.json` holds."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """Its single figures, without curves."""
        whole = self.as_json()
        found = {name: whole[name] for name in ("accuracy", "mean_gap", "labelled", "safety", "scores", "score_range")}
        found["calibration_error"] = {name: entry["error"] for name, entry in whole["calibration"].items()}
        return {**found, "length": whole["length"]}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two reward models say the same of one set of pairs.

    Attributes:
        same: the share of pairs of which both prefer the same answer (a tie of one counts half).
        gaps: correlation of their score gaps; None where one of them never varies.
    """

    same: Share
    gaps: Estimate | None


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Reward models side by side on the held-out pairs of all of them (Llama 2 paper, table 7).

    Attributes:
        accuracy: set of pairs -> model -> how often it prefers the chosen answer.  A set is a role's ("safety"), and
            where that has several sources each of them ("safety: rows.jsonl").
        agreement: set of pairs -> how far the first two models agree.
    """

    accuracy: Mapping[str, Mapping[str, Share]] = field(default_factory=dict)
    agreement: Mapping[str, Agreement] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
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
        return {**own, **accuracy, **counts, "evaluation": self.evaluation.summary()}
