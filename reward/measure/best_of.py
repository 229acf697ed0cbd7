"""What choosing by a reward model gains: the best of n among a policy's own answers, against its greedy answer.

K drawn answers to a prompt.  The mean over all ways to draw n of the K stands for the best of n: no draw's luck is in
it, unlike in the best of the first n (the unbiased estimator of Nakano et al. 2021 for best of n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from reward.measure.own_result import BestOf, BestOfN, OwnAnswer, PromptAnswers
from reward.measure.resampling import PromptDraws
from reward.result import Estimate

Value = Callable[[OwnAnswer], float | None]  # an answer's score on the scale that is reported; None: it has none


def best_of(
    prompts: Sequence[PromptAnswers],
    choosers: Sequence[str],
    value: Value,
    *,
    judge: str,
    figure: str,
    with_oracle: bool,
) -> BestOf | None:
    """Mean scores of what each reward model chooses, by n; None where no prompt's answers all have a score.

    Args:
        prompts: each with K answers.
        choosers: reward models that choose.
        value: what the chosen answers are worth.
        with_oracle: whether the value itself chooses too.
    """
    worth = {at.prompt: [value(answer) for answer in (*at.drawn, at.greedy)] for at in prompts}
    scored = [at for at in prompts if None not in worth[at.prompt]]
    if not scored:
        return None
    values = np.array([worth[at.prompt] for at in scored], dtype=np.float64)  # [prompts, K + 1], the greedy one last
    drawn, greedy = values[:, :-1], values[:, -1:]
    counts = counts_to(drawn.shape[1])
    chosen = {
        name: choices(np.array([[answer.scores[name] for answer in at.drawn] for at in scored]), drawn, counts)
        for name in choosers
    }
    if with_oracle:
        chosen[_ORACLE] = choices(drawn, drawn, counts)
    columns = [greedy, drawn.mean(axis=1, keepdims=True)]
    columns += [part for own in chosen.values() for part in (own, own - greedy)]
    table = np.concatenate(columns, axis=1)
    estimates = _means([at.prompt for at in scored], table)
    curves: dict[str, tuple[BestOfN, ...]] = {}
    for place, name in enumerate(chosen):
        start, size = 2 + 2 * len(counts) * place, len(counts)
        both = zip(counts, estimates[start : start + size], estimates[start + size : start + 2 * size], strict=True)
        curves[name] = tuple(BestOfN(n=n, score=score, over_greedy=over) for n, score, over in both)
    oracle = curves.pop(_ORACLE, ())
    return BestOf(
        judge=judge,
        figure=figure,
        prompts=len(scored),
        greedy=estimates[0],
        sample=estimates[1],
        chosen=curves,
        oracle=oracle,
    )


_ORACLE = ""  # no reward model is called so


def of_verdict(figure: str) -> Value:
    """The outside judge's figure."""
    return lambda answer: answer.verdict.get(figure)


def of_score(model: str) -> Value:
    """A reward model's own score."""
    return lambda answer: answer.scores[model]


def counts_to(most: int) -> tuple[int, ...]:
    """1, 2, 4, … and K itself."""
    return (*(2**power for power in range(most.bit_length()) if 2**power < most), most)


def choices(scores: np.ndarray, values: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The mean value of the answer with the highest score among n, over all ways to draw n of K.

    Args:
        scores: [prompts, K] that choose.
        values: [prompts, K] of what is chosen.

    Returns:
        [prompts, len(counts)].
    """
    return np.array(
        [
            [float(chances(own, n) @ worth) for n in counts]
            for own, worth in zip(scores, np.asarray(values, dtype=np.float64), strict=True)
        ]
    )


def chances(scores: Sequence[float] | np.ndarray, n: int) -> np.ndarray:
    """How likely each of K answers is the one chosen among n of them; equal scores share.

    An answer's score is the highest of the draws that hold it or an equal one, and none of the b better ones:
    C(K - b, n) - C(K - b - e, n) of them, with e equal ones, itself among them.

    Args:
        scores: [K].
        n: from 1 to K.

    Returns:
        [K] chances that sum to 1.
    """
    own = np.asarray(scores, dtype=np.float64)
    total, found = math.comb(len(own), n), np.empty(len(own))
    for score in np.unique(own):
        here, left = own == score, int((own <= score).sum())
        equal = int(here.sum())
        found[here] = (math.comb(left, n) - math.comb(left - equal, n)) / total / equal
    return found


def _means(prompts: Sequence[str], table: np.ndarray) -> list[Estimate]:
    """Means of the columns [prompts, k], prompts drawn together for all."""
    found = PromptDraws(prompts).means(table, np.ones(table.shape, dtype=bool))
    return [entry for entry in found if entry is not None]  # every column has finite values
