"""Rejection sampling's guard: the model's own greedy answer is a candidate, and what is kept is held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from alignment.generate.draw import JOURNALS, draw_samples
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.report.intervals import bootstrap_mean
from alignment.text.chat import answer_ids
from alignment.train.session import Session
from rl.judges import RewardJudges
from rl.kept import Kept, best_of, demonstrable, guarded
from rl.result import Guarded
from rl.rollout import score_rollouts
from rl.settings import RejectionSettings

Prompt = tuple[Dialogue, tuple[int, ...]]  # with its tokens


def guard_kept(
    policy: Policy,
    prompts: Sequence[Prompt],
    best: Sequence[Kept],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    version: int,
) -> tuple[list[Kept], Guarded]:
    """Draw the greedy answers and put them where the best candidate is not better by `settings.guard`.

    Args:
        best: of the drawn candidates, at most one a prompt.

    Returns:
        What is kept, and how it compares with the greedy answers of the same prompts.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    greedy = SamplingSettings(**settings.sampling.model_dump() | {"temperature": 0.0})
    samples = draw_samples(
        policy,
        prompts,
        num_samples=1,
        sampling=greedy,
        seed=session.seed,
        names=("rejection-greedy", version),
        journal_path=session.folder / JOURNALS / "greedy.jsonl",
    )
    rollouts = score_rollouts(prompts, samples, policy, judges)
    own = {
        said.prompt_id: said
        for rollout in rollouts
        if (said := best_of(rollout, demonstrable(rollout, policy.tokenizer), version)) is not None
    }
    kept = [guarded(candidate, own.get(candidate.prompt_id), settings.guard or 0.0) for candidate in best]
    pairs = [(answer, own[answer.prompt_id]) for answer in kept if answer.prompt_id in own]
    dialogues = {dialogue.id: (dialogue, ids) for dialogue, ids in prompts}
    watch = _watched([answer for pair in pairs for answer in pair], dialogues, policy, judges)
    differences = [first - second for first, second in zip(watch[::2], watch[1::2], strict=True)]
    return kept, Guarded(
        prompts=len(pairs),
        greedy_kept=sum(answer is other for answer, other in pairs),
        over_greedy={
            "reward": asdict(bootstrap_mean([a.combined - b.combined for a, b in pairs], seed=0)),
            **({"watch": asdict(bootstrap_mean(differences, seed=0))} if differences else {}),
        }
        if pairs
        else {},
    )


def _watched(kept: Sequence[Kept], prompts: dict[str, Prompt], policy: Policy, judges: RewardJudges) -> Sequence[float]:
    """The watch model's scores; none where there is no such model."""
    answers = [
        Answer(
            dialogue=prompts[answer.prompt_id][0],
            prompt_ids=prompts[answer.prompt_id][1],
            token_ids=answer.token_ids or tuple(answer_ids(answer.answer, policy.tokenizer)),
            text=answer.answer,
            tokenizer=policy.tokenizer.sha256,
        )
        for answer in kept
    ]
    return (judges.watched(answers) or []) if answers else []
