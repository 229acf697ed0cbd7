"""Versions against each other: win rates and one ranking a judge, from the scored answers.  No torch.

Llama 2 paper, 3.4: answers of two models to the same prompts, win / tie / loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations

from alignment.evaluate.result import Comparison, HeadToHead, ScoredAnswer
from alignment.evaluate.winrate import ranking, win_rate
from alignment.judging import Judge


def compare_versions(
    answers: Sequence[ScoredAnswer], order: Sequence[str], judges: Sequence[Judge], *, seed: int
) -> tuple[Comparison, ...]:
    """Every two versions compared on the prompts that both answered and the judge scored.

    Args:
        order: the versions, the earliest first.
        judges: what decides is theirs; those that took no part in training come first.

    Returns:
        By campaign and judge the ranking, and the win rates of each later version against each earlier one, with
        95 % intervals over prompts; nothing where fewer than two versions can be compared.
    """
    found = []
    for campaign in dict.fromkeys(answer.campaign for answer in answers):
        asked = [answer for answer in answers if answer.campaign == campaign]
        for judge in sorted(judges, key=lambda judge: not judge.independent):
            decision = judge.decides.get(campaign)
            if decision is None:
                continue
            figure = f"{judge.name}.{decision.figure}"
            scores = _shared_scores(asked, order, figure)
            if len(scores) < 2:
                continue
            rates = [
                HeadToHead(
                    later=later,
                    earlier=earlier,
                    **asdict(win_rate(scores[later], scores[earlier], tie=decision.tie, seed=seed)),
                )
                for earlier, later in combinations(scores, 2)
            ]
            found.append(
                Comparison(
                    campaign=campaign,
                    judge=judge.name,
                    figure=figure,
                    prompts=len(next(iter(scores.values()))),
                    ranking=tuple(ranking(scores, tie=decision.tie).items()),
                    win_rates=tuple(rates),
                    tie=decision.tie,
                )
            )
    return tuple(found)


def _shared_scores(answers: Sequence[ScoredAnswer], order: Sequence[str], figure: str) -> dict[str, list[float]]:
    """Version -> its scores on the prompts that every version has a score of; empty if there are none."""
    by_version: dict[str, dict[str, float]] = defaultdict(dict)
    for answer in answers:
        if figure in answer.scores:
            by_version[answer.version][answer.prompt] = answer.scores[figure]
    names = [name for name in order if name in by_version]
    prompts = sorted(set.intersection(*(set(by_version[name]) for name in names))) if names else []
    return {name: [by_version[name][prompt] for prompt in prompts] for name in names} if prompts else {}
