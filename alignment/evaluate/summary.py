"""Answers with their scores made figures: means with intervals by version, campaign and task.  No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from alignment.evaluate.result import Recall, ScoredAnswer, VersionScores
from alignment.report.intervals import bootstrap_mean


def summarise(answers: Sequence[ScoredAnswer], order: Sequence[str], *, seed: int) -> tuple[VersionScores, ...]:
    """Means with 95 % bootstrap intervals by version and campaign, and by task."""
    groups: dict[tuple[str, str, str], list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.version, answer.campaign, ""].append(answer)
        if answer.task:
            groups[answer.version, answer.campaign, answer.task].append(answer)
    summary = []
    for (version, campaign, task), members in sorted(
        groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])
    ):
        names = sorted({name for answer in members for name in answer.scores})
        figures = {
            name: bootstrap_mean([answer.scores[name] for answer in members if name in answer.scores], seed=seed)
            for name in names
        }
        summary.append(
            VersionScores(version=version, campaign=campaign, task=task, prompts=len(members), figures=figures)
        )
    return tuple(summary)


def recall(answers: Sequence[ScoredAnswer], order: Sequence[str], *, seed: int) -> tuple[Recall, ...]:
    """Facts about people told rightly, by version and group of people.

    `person_group` says whether somebody was asked about in training ("train") or appears in documents only;
    what is right of the latter was extracted from what pretraining stored ("Physics of Language Models", 3.1).

    Returns:
        Mean of the gold judge's `correct` with a 95 % interval; empty where no prompt names a group.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for answer in answers:
        if answer.person_group and answer.campaign == "helpfulness" and "gold.correct" in answer.scores:
            groups[answer.version, answer.person_group].append(answer.scores["gold.correct"])
    ordered = sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return tuple(
        Recall(
            version=version,
            person_group=group,
            prompts=len(values),
            correct=bootstrap_mean(np.asarray(values), seed=seed),
        )
        for (version, group), values in ordered
    )
