"""Rejection sampling's guard: the model's own greedy answer is a candidate, and what is kept is held against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def greedy_answers(
    policy: Policy,
    prompts: Sequence[Prompt],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    version: int,
) -> dict[str, Kept]:
    """The policy's greedy answer to each prompt, by the prompt's id; none of a prompt whose answer cannot be kept.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    samples = draw_samples(
        policy,
        prompts,
        num_samples=1,
        sampling=settings.sampling.greedy(),
        seed=session.seed,
        names=("rejection-greedy", version),
        journal_path=session.folder / JOURNALS / "greedy.jsonl",
    )
    rollouts = score_rollouts(prompts, samples, policy, judges)
    return {
        said.prompt_id: said
        for rollout in rollouts
        if (said := best_of(rollout, demonstrable(rollout, policy.tokenizer), version)) is not None
    }


def guard_kept(best: Sequence[Kept], greedy: Mapping[str, Kept], guard: float) -> list[Kept]:
    """Put the greedy answers where a candidate is not better by the guard; each prompt's at most once.

    Args:
        best: of the drawn candidates, in the order of their prompts.
        greedy: as `greedy_answers`.
        guard: by how much a candidate's combined reward must be higher, in logits.
    """
    kept: dict[tuple[str, str], Kept] = {}
    for candidate in best:
        one = guarded(candidate, greedy.get(candidate.prompt_id), guard)
        kept.setdefault((one.prompt_id, one.answer), one)
    return list(kept.values())


def held_against(
    kept: Sequence[Kept],
    greedy: Mapping[str, Kept],
    prompts: Sequence[Prompt],
    policy: Policy,
    judges: RewardJudges,
) -> Guarded:
    """How what is kept compares with the greedy answers of the same prompts; a prompt counts once, however many of its
    answers are kept.

    Raises:
        NonFiniteError: the watch model's score is NaN or infinite.
    """
    pairs = [(answer, greedy[answer.prompt_id]) for answer in kept if answer.prompt_id in greedy]
    by_id = {prompt[0].id: prompt for prompt in prompts}
    compared = [_answer(by_id[answer.prompt_id], answer, policy) for pair in pairs for answer in reversed(pair)]
    watch = judges.watched(compared) or []  # of each pair the greedy answer's, then the kept one's
    asked = [answer.prompt_id for answer, _ in pairs] if watch else []
    watched = [*zip(asked, watch[1::2], watch[::2], strict=True)]
    judged = [(name, one - other) for name, one, other in watched if one is not None and other is not None]
    gaps = {
        "reward": _by_prompt([(answer.prompt_id, answer.combined - other.combined) for answer, other in pairs]),
        "wins" if judges.watch_is_paid else "watch": _by_prompt(judged),
    }
    return Guarded(
        prompts=len({answer.prompt_id for answer, _ in pairs}),
        greedy_kept=sum(answer is other for answer, other in pairs),
        over_greedy={name: asdict(bootstrap_mean(found, seed=0)) for name, found in gaps.items() if found},
        without_verdict=len(watched) - len(judged),
    )


def _by_prompt(gaps: Sequence[tuple[str, float]]) -> list[float]:
    """The mean of each prompt's."""
    found: dict[str, list[float]] = {}
    for name, gap in gaps:
        found.setdefault(name, []).append(gap)
    return [math.fsum(each) / len(each) for each in found.values()]


def _answer(prompt: Prompt, kept: Kept, policy: Policy) -> Answer:
    dialogue, ids = prompt
    return Answer(
        dialogue=dialogue,
        prompt_ids=ids,
        token_ids=kept.token_ids,
        text=kept.answer,
        tokenizer=policy.tokenizer.sha256,
    )
