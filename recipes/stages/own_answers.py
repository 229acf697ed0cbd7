"""The reward models on the policy's own answers, as a part of the evaluation.  No torch, no pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignment.evaluate.versions import Version
    from alignment.judging import Judge
    from alignment.records import Dialogue
    from recipes.stages.context import StageContext
    from recipes.stages.evaluate_inputs import EvaluateInputs

START = "start"  # what the checkpoint in `model.path` is called among the models that answer


def measure_own(
    inputs: EvaluateInputs,
    stage: StageContext,
    versions: Sequence[Version],
    prompts: Mapping[str, Sequence[Dialogue]],
    judges: Sequence[Judge],
) -> None:
    """Measure every reward model on what the named models answer; nothing where the recipe does not ask for it.

    Where versions have reward models of their own, a model's answers are scored by those that learnt from them.

    An outside watch model is not among them: it compares, and every answer would cost two requests.  The
    first judge that took no part in training says what answers are worth: the world's, else an outside one.
    """
    settings = inputs.settings.own_answers
    if settings is None or inputs.judges is None:
        return
    from alignment.evaluate.judge_words import WATCH
    from reward.own_answers import ScoredBy, measure_own_answers
    from rl.judges import RewardJudges
    from rl.outside_watch import EndpointWatch

    def scored_by(rewards: RewardJudges) -> ScoredBy:
        watch = rewards.watch
        beside = {} if watch is None or isinstance(watch, EndpointWatch) else {WATCH: watch}
        return ScoredBy(judges=rewards, beside=beside)

    newest = scored_by(next(judge for judge in judges if isinstance(judge, RewardJudges)))
    measure_own_answers(
        {version.name: version.checkpoint for version in versions if version.name in inputs.answering},
        prompts,
        newest.judges,
        next((judge for judge in judges if judge.independent), None),
        settings,
        stage.session,
        beside=newest.beside,
        by_policy={
            name: scored_by(learnt.open(stage))
            for name, learnt in inputs.learnt_from.items()
            if name in inputs.answering and learnt != inputs.judges
        },
    )
