"""Rollouts: sampled answers scored by both reward models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.generate.draw import answers_of
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from rl.judges import RewardJudges


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One prompt's sampled answers and their scores.

    Attributes:
        prompt: the dialogue, ending with the user.
        prompt_ids: its tokens.
        samples: K answers.
        texts: [K] their texts, stripped.
        helpfulness, safety: [K] reward scores before the sigmoid.
        combined: [K] the combined reward, before whitening.
    """

    prompt: Dialogue
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    texts: tuple[str, ...]
    helpfulness: tuple[float, ...]
    safety: tuple[float, ...]
    combined: tuple[float, ...]


def score_rollouts(
    prompts: Sequence[tuple[Dialogue, tuple[int, ...]]],
    samples: Sequence[Sequence[Sample]],
    policy: Policy,
    judges: RewardJudges,
) -> list[Rollout]:
    """Score every answer with both reward models; each prompt is computed once a model.

    Raises:
        TokenizerError: a judge was made with another tokenizer than the policy.
        NonFiniteError: a score is NaN or infinite; names the prompts' rows.
    """
    answers = answers_of(prompts, samples, policy)
    figures = iter(judges.judge([answer for options in answers for answer in options]))
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
                safety=tuple(score["safety"] for score in scores),
                combined=tuple(score["combined"] for score in scores),
            )
        )
    return rollouts
