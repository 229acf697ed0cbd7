"""Intervals of any figure of held-out answers by the bootstrap: whole prompts are drawn, with all that hangs on them.

n rows (pairs or answers), G prompts, r draws at a time.  A figure is a function of weights [r, n]: how often each row
stands in each draw.  Efron & Tibshirani 1993, chapter 13 (percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from alignment.randomness import named_generator
from alignment.report.intervals import wilson
from reward.result import Estimate

DRAWS = 1_000
_AT_ONCE = 4_000_000  # weights held at a time: 32 MB

Statistic = Callable[[np.ndarray], np.ndarray]  # weights [r, n] -> [r] or [r, k], NaN where it cannot be said


class PromptDraws:
    """Draws of whole prompts; the same prompts give the same draws."""

    def __init__(self, prompts: Sequence[bytes | str], *, draws: int = DRAWS) -> None:
        numbers: dict[bytes | str, int] = {}
        self._prompt = np.array([numbers.setdefault(prompt, len(numbers)) for prompt in prompts], dtype=np.int64)
        self.num_prompts, self._draws = len(numbers), draws

    def estimates(self, statistic: Statistic) -> list[Estimate | None]:
        """A statistic's values, each with its interval; None where it cannot be said of the rows themselves.

        A draw on which a value cannot be said (no unsafe answer in it) does not count for that value.
        """
        if not len(self._prompt):
            return []
        value = statistic(np.ones((1, len(self._prompt)))).reshape(-1)
        drawn = np.concatenate([statistic(weights).reshape(len(weights), -1) for weights in self._weights()])
        found: list[Estimate | None] = []
        for at, middle in enumerate(value.tolist()):
            column = drawn[:, at]
            column = column[np.isfinite(column)]
            if not np.isfinite(middle) or not len(column):
                found.append(None)
                continue
            low, high = (float(end) for end in np.quantile(column, [0.025, 0.975]))
            found.append(Estimate(value=middle, low=min(low, middle), high=max(high, middle)))
        return found

    def estimate(self, statistic: Statistic) -> Estimate | None:
        """The interval of a single value."""
        (found,) = self.estimates(statistic) or [None]
        return found

    def shares(self, values: np.ndarray, groups: np.ndarray) -> list[Estimate | None]:
        """Means in [0, 1] of values [n] or [n, k], one for each group [n, k] of rows (False or True).

        Where a group's values are all 0 or all 1 every draw is alike: Wilson's interval over its prompts stands there.
        """
        found = self.means(values, groups)
        for at, entry in enumerate(found):
            if entry is not None and entry.value in (0.0, 1.0):
                number = len(np.unique(self._prompt[groups[:, at]]))
                exact = wilson(entry.value * number, number)
                found[at] = Estimate(value=entry.value, low=exact.low, high=exact.high)
        return found

    def means(self, values: np.ndarray, groups: np.ndarray) -> list[Estimate | None]:
        """Means of values [n] or [n, k], one for each group [n, k] of rows."""
        own = (values if values.ndim == 2 else values[:, None]) * groups

        def mean(weights: np.ndarray) -> np.ndarray:
            return ratio(weights @ own, weights @ groups)

        return self.estimates(mean)

    def _weights(self) -> Iterator[np.ndarray]:
        generator = named_generator(0, "prompt draws", self.num_prompts, self._draws)
        even = np.full(self.num_prompts, 1 / self.num_prompts)
        step = max(1, _AT_ONCE // max(len(self._prompt), self.num_prompts))
        for start in range(0, self._draws, step):
            times = generator.multinomial(self.num_prompts, even, size=min(step, self._draws - start))
            yield times[:, self._prompt].astype(np.float64)


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Element by element, NaN where nothing is below the line."""
    found = np.full(np.broadcast(upper, lower).shape, np.nan)
    np.divide(upper, lower, out=found, where=lower > 0)
    return found
