"""How the page calls judges, and what their scores are measured in.  No torch, no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GOLD, REWARD, WATCH, OUTSIDE_WATCH, ENDPOINT = (
    "gold",
    "reward",
    "watch",
    "outside-watch",
    "endpoint",
)  # what stands before a judge's figures: "gold.helpfulness"


@dataclass(frozen=True, kw_only=True)
class JudgeWords:
    """How judges are called.

    Attributes:
        titles: name -> words for it ("the gold judge of the embedded world"); others are called "the NAME judge".
    """

    titles: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_a_run(cls, endpoint: str | None, watch: str | None = None) -> JudgeWords:
        """The judges that a run may have; `endpoint` is the outside judge's name, `watch` that of one that watches."""
        outside = {} if endpoint is None else {ENDPOINT: f"the outside judge {endpoint}"}
        own = {
            GOLD: "the gold judge of the embedded world",
            REWARD: "the run's own reward models",
            WATCH: "the watch model",
        }
        watching = {} if watch is None else {OUTSIDE_WATCH: f"the outside model {watch}, which watched"}
        return cls(titles=own | outside | watching)

    def title(self, name: str) -> str:
        """Words for a judge."""
        return self.titles.get(name, f"the {name} judge")


# judge -> its main figures and their scale; a judge's other figures are its parts
MAIN_FIGURES: Mapping[str, tuple[tuple[str, ...], str]] = {
    GOLD: (("helpfulness", "safety"), "mean score, 0 to 1"),
    ENDPOINT: (("helpfulness", "safety"), "mean score, 0 to 1"),
    REWARD: (("helpfulness", "safety", "combined"), "mean score before the sigmoid"),
    WATCH: (("score",), "mean score before the sigmoid"),
    OUTSIDE_WATCH: (("wins",), "comparisons with the start's answers won, ties half"),
}


def scale_of(judge: str) -> str:
    """What stands along the axis of a judge's figures."""
    return MAIN_FIGURES[judge][1] if judge in MAIN_FIGURES else "mean score"
