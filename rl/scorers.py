"""Judges as the evaluation wants them: the two reward models and their combination, or an independent judge."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from alignment.evaluate.judge import Judge
from alignment.evaluate.versions import Scorer
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from rl.objective import combined_reward
from rl.rollout import Judges, is_safety_prompt


def reward_scorer(judges: Judges, compute_settings: ComputeSettings) -> Scorer:
    """Figures `helpfulness`, `safety`, `combined`: scores before the sigmoid.  Not independent of training."""
    compute = resolve_compute(compute_settings)

    def score(
        policy: Policy,
        dialogues: Sequence[Dialogue],
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        texts: Sequence[str],
    ) -> list[dict[str, float]]:
        judges.require_fit(policy)
        options = [[answer] for answer in answers]
        helpfulness = torch.tensor([s[0] for s in judges.helpfulness.score_ids(prompts, options, compute)])
        safety = torch.tensor([s[0] for s in judges.safety.score_ids(prompts, options, compute)])
        tagged = torch.tensor([is_safety_prompt(dialogue) for dialogue in dialogues])
        combined = combined_reward(helpfulness, safety, tagged, judges.safety_threshold)
        return [
            {"helpfulness": float(h), "safety": float(s), "combined": float(c)}
            for h, s, c in zip(helpfulness, safety, combined, strict=True)
        ]

    return score


def gold_scorer(judge: Judge) -> Scorer:
    """Figures `helpfulness`, `safety` in [0, 1] and the judge's parts; took no part in training."""

    def score(
        policy: Policy,
        dialogues: Sequence[Dialogue],
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        texts: Sequence[str],
    ) -> list[dict[str, float]]:
        verdicts = [judge.judge(dialogue, text) for dialogue, text in zip(dialogues, texts, strict=True)]
        return [{"helpfulness": v.helpfulness, "safety": v.safety, **v.parts} for v in verdicts]

    return score
