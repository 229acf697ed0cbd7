"""Rollouts: sampled answers scored by the reward models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignment.errors import DataError
from alignment.generate.draw import answers_of
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from rl.judges import RewardJudges

Prompt = tuple[Dialogue, tuple[int, ...]]  # with its tokens


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One prompt's sampled answers and their scores.

    Attributes:
        prompt: the dialogue, ending with the user.
        prompt_ids: its tokens.
        samples: K answers.
        texts: [K] their texts, stripped.
        helpfulness: [K] reward scores before the sigmoid.
        safety: [K] likewise; None where there is no safety model.
        combined: [K] the combined reward, before whitening.
        watch: [K] the watch model's scores; None where there is none, or it was not asked.  An answer's is None where
            an outside model gave no verdict.
    """

    prompt: Dialogue
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    texts: tuple[str, ...]
    helpfulness: tuple[float, ...]
    safety: tuple[float, ...] | None
    combined: tuple[float, ...]
    watch: tuple[float | None, ...] | None = None


def score_rollouts(
    prompts: Sequence[Prompt],
    samples: Sequence[Sequence[Sample]],
    policy: Policy,
    judges: RewardJudges,
    *,
    watched: bool = False,
) -> list[Rollout]:
    """Score every answer with the reward models; each prompt is computed once a model.

    Args:
        watched: with the watch model too, where there is one.

    Raises:
        TokenizerError: a judge was made with another tokenizer than the policy.
        NonFiniteError: a score is NaN or infinite; names the prompts' rows.
    """
    answers = answers_of(prompts, samples, policy)
    flat = [answer for options in answers for answer in options]
    figures, watch = iter(judges.judge(flat)), judges.watched(flat) if watched else None
    rest = iter(watch) if watch is not None else None
    rollouts = []
    for (prompt, ids), options, said in zip(prompts, samples, answers, strict=True):
        scores = [next(figures) for _ in options]
        rollouts.append(
            Rollout(
                prompt=prompt,
                prompt_ids=ids,
                samples=tuple(options),
                texts=tuple(answer.text for answer in said),
                helpfulness=tuple(score["helpfulness"] for score in scores),
                safety=tuple(score["safety"] for score in scores) if judges.safety is not None else None,
                combined=tuple(score["combined"] for score in scores),
                watch=tuple(next(rest) for _ in options) if rest is not None else None,
            )
        )
    return rollouts


def mean_scores(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Mean scores of each rollout's first answer: helpfulness, safety and watch, of the models that there are.

    Returns:
        Where an outside watch model gave no verdict on some, `without_verdict` too: how many; `watch` is the others'.

    Raises:
        DataError: it gave none at all.
    """
    watch = [rollout.watch[0] for rollout in rollouts if rollout.watch is not None]
    given = [score for score in watch if score is not None]
    if watch and not given:
        raise DataError(f"the outside watch model gave no verdict on any of {len(watch)} answers")
    missing = {"without_verdict": float(len(watch) - len(given))} if len(watch) > len(given) else {}
    found = {
        "helpfulness": [rollout.helpfulness[0] for rollout in rollouts],
        "safety": [rollout.safety[0] for rollout in rollouts if rollout.safety is not None],
        "watch": given,
    }
    return {**{name: float(np.mean(values)) for name, values in found.items() if values}, **missing}


def watched_by_prompt(rollouts: Sequence[Rollout]) -> tuple[float | None, ...] | None:
    """The watch model's score of each rollout's first answer; None where there is no watch model."""
    scores = [rollout.watch[0] for rollout in rollouts if rollout.watch is not None]
    return tuple(scores) if scores else None
