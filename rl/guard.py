"""Rejection sampling's guard: the model's own greedy answer is a candidate, and what is kept is held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from alignment.generate.draw import JOURNALS, draw_samples
from alignment.policy.policy import Policy
from alignment.records import Answer
from alignment.report.intervals import bootstrap_mean
from alignment.train.session import Session
from rl.judges import RewardJudges
from rl.kept import Kept, best_of, demonstrable, guarded
from rl.result import Guarded
from rl.rollout import Prompt, score_rollouts
from rl.settings import RejectionSettings


def guard_kept(
    policy: Policy,
    prompts: Sequence[Prompt],
    best: Sequence[Kept],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    version: int,
    *,
    guard: float,
) -> tuple[list[Kept], Guarded]:
    """Draw the greedy answers and put them where the best candidate is not better by the guard.

    Args:
        best: of the drawn candidates, at most one a prompt.
        guard: by how much a candidate's combined reward must be higher, in logits.

    Returns:
        What is kept, and how it compares with the greedy answers of the same prompts.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    greedy = settings.sampling.greedy()
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
    kept = [guarded(candidate, own.get(candidate.prompt_id), guard) for candidate in best]
    pairs = [(answer, own[answer.prompt_id]) for answer in kept if answer.prompt_id in own]
    by_id = {prompt[0].id: prompt for prompt in prompts}
    compared = [_answer(by_id[answer.prompt_id], answer, policy) for pair in pairs for answer in reversed(pair)]
    watch = judges.watched(compared) or []  # of each prompt the greedy answer's, then the kept one's
    watched = [*zip(watch[1::2], watch[::2], strict=True)]
    judged = [(first, second) for first, second in watched if first is not None and second is not None]
    over_greedy = {"reward": [a.combined - b.combined for a, b in pairs]}
    over_greedy["wins" if judges.watch_is_paid else "watch"] = [first - second for first, second in judged]
    return kept, Guarded(
        prompts=len(pairs),
        greedy_kept=sum(answer is other for answer, other in pairs),
        over_greedy={name: asdict(bootstrap_mean(gaps, seed=0)) for name, gaps in over_greedy.items() if gaps},
        without_verdict=len(watched) - len(judged),
    )


def _answer(prompt: Prompt, kept: Kept, policy: Policy) -> Answer:
    dialogue, ids = prompt
    return Answer(
        dialogue=dialogue,
        prompt_ids=ids,
        token_ids=kept.token_ids,
        text=kept.answer,
        tokenizer=policy.tokenizer.sha256,
    )
