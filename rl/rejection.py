"""Rejection sampling fine-tuning (Llama 2 paper, 3.2.3): one RLHF version.

1. sample K answers to each prompt from the most recent model;
2. score them with the best reward models and keep the best of each prompt;
3. candidates are the best of *all* earlier versions too (from V4 on in the paper; `pool: previous` leaves that out);
4. fine-tune on the kept answers as in SFT.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from alignment.data.mixing import mix_in
from alignment.errors import DataError, NonFiniteError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.given import answered_dialogues, given_prompts
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.records import Dialogue
from alignment.store.atomic import write_json, write_text
from alignment.text.chat import MARKERS
from alignment.train.compute import resolve_compute
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.session import Session
from alignment.train.sft import fine_tune
from rl.judges import RewardJudges
from rl.result import RejectionResult, SamplingFigures
from rl.rollout import Rollout, score_rollouts
from rl.settings import RejectionSettings

KEPT_FILE = "kept.jsonl"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The best answer to one prompt, as it travels to later versions."""

    prompt_id: str
    answer: str
    version: int
    helpfulness: float
    safety: float | None  # None where there is no safety model
    combined: float


def rejection_sample(
    policy: Policy,
    prompts: Iterable[Dialogue],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    *,
    version: int = 1,
    earlier: Sequence[Path] = (),
    sft_dialogues: Iterable[Dialogue] = (),
    start: Policy | None = None,
) -> RejectionResult:
    """Make one RLHF version and save it to `checkpoint/` in the session's folder.

    Args:
        policy: the most recent model; it samples.
        prompts: all training prompts.
        judges: the reward models.
        version: its number, from 1; names the draws.
        earlier: folders of earlier rejection stages, whose kept answers stay in the pool.
        sft_dialogues: demonstrations to mix in (`sft_share`).
        start: the model that is fine-tuned (the policy itself by default); changed in place.

    Returns:
        The sampling's figures, which `rejection.json` holds too, and the fine-tuning's.

    Raises:
        UsageError: what is given holds no dialogues.
        DataError: a prompt ends with an answer, no prompt fits the context, or no answer can be kept.
        TokenizerError: a judge was made with another tokenizer than the policy.
        NonFiniteError: a reward is NaN or infinite; `nonfinite.json` names its row.
    """
    judges.require_fit(policy)
    prompts = given_prompts(prompts, "prompts")
    mixed_in = answered_dialogues(sft_dialogues, "sft_dialogues")
    chosen = choose_prompts(prompts, settings.prompts_per_version, seed=session.seed, version=version)
    fitting, left_out = fitting_prompts(chosen, policy, settings.sampling)
    if not fitting:
        raise DataError(f"RLHF-V{version}: none of {len(chosen)} prompts leaves room for an answer in the context")
    resolve_compute(session.compute).place(policy.model)
    session.progress.begin(None, "samples")
    samples = draw_samples(
        policy,
        fitting,
        num_samples=settings.samples_per_prompt,
        sampling=settings.sampling,
        seed=session.seed,
        names=("rejection", version),
        journal_path=session.folder / JOURNALS / "rejection.jsonl",
    )
    session.progress.end()
    session.stop.check()
    try:
        rollouts = score_rollouts(fitting, samples, policy, judges)
    except NonFiniteError as error:
        NonFiniteSteps(session.folder, allowed=0).stop(error.quantity, error.value, step=error.step, rows=error.rows)
    best = [kept for rollout in rollouts if (kept := best_of(rollout, version)) is not None]
    history = [read_kept(folder / KEPT_FILE) for folder in earlier] if settings.pool == "all" else []
    pool = best_of_pool([*history, best])
    write_text(session.folder / KEPT_FILE, "".join(json.dumps(asdict(kept)) + "\n" for kept in best))
    figures = _figures(rollouts, best, pool, version, left_out)
    write_json(session.folder / "rejection.json", figures.as_json())
    by_id = {prompt.id: prompt for prompt in prompts}
    dialogues = [by_id[kept.prompt_id].answered(kept.answer) for kept in pool if kept.prompt_id in by_id]
    if not dialogues:
        raise DataError(f"RLHF-V{version}: no sampled answer could be kept; every one is empty or holds a chat marker")
    names = ("rejection-mix", version)
    mixed = mix_in(dialogues, mixed_in, settings.sft_share, seed=session.seed, names=names)
    tuned = fine_tune(start or policy, mixed, settings, session, name=f"rejection-v{version}")
    return RejectionResult(sampling=figures, training=tuned)


def choose_prompts(prompts: Sequence[Dialogue], count: int, *, seed: int, version: int) -> list[Dialogue]:
    """The prompts of one version, drawn anew for each; 0 takes all."""
    if not count or count >= len(prompts):
        return list(prompts)
    picked = named_generator(seed, "rejection-prompts", version).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in sorted(picked.tolist())]


def best_of(rollout: Rollout, version: int) -> Kept | None:
    """The answer with the highest combined reward; the first of equals; None if none can be trained on.

    Cut and empty answers, and answers that hold a chat marker, cannot be demonstrations.
    """
    usable = [
        k
        for k, (sample, text) in enumerate(zip(rollout.samples, rollout.texts, strict=True))
        if sample.finish_reason == "stop" and text and not any(marker in text for marker in MARKERS)
    ]
    if not usable:
        return None
    k = max(usable, key=lambda i: (rollout.combined[i], -i))
    return Kept(
        prompt_id=rollout.prompt.id,
        answer=rollout.texts[k],
        version=version,
        helpfulness=rollout.helpfulness[k],
        safety=rollout.safety[k] if rollout.safety is not None else None,
        combined=rollout.combined[k],
    )


def best_of_pool(versions: Sequence[Sequence[Kept]]) -> list[Kept]:
    """For each prompt the best answer of any version; the newer of equals.  Ordered by prompt id."""
    best: dict[str, Kept] = {}
    for version in versions:
        for kept in version:
            if kept.prompt_id not in best or kept.combined >= best[kept.prompt_id].combined:
                best[kept.prompt_id] = kept
    return [best[key] for key in sorted(best)]


def read_kept(path: Path) -> list[Kept]:
    """The kept answers of a finished version."""
    return [Kept(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _figures(
    rollouts: Sequence[Rollout], best: Sequence[Kept], pool: Sequence[Kept], version: int, left_out: int
) -> SamplingFigures:
    combined = np.asarray([score for rollout in rollouts for score in rollout.combined])
    lengths = [len(sample.token_ids) for rollout in rollouts for sample in rollout.samples]
    cut = [sample.finish_reason == "length" for rollout in rollouts for sample in rollout.samples]
    max_by_n: Mapping[str, float] = {
        str(n): float(np.mean([max(rollout.combined[:n]) for rollout in rollouts]))
        for n in _powers(len(rollouts[0].combined))
    }
    origins: dict[str, int] = {}
    for kept in pool:
        origins[f"v{kept.version}"] = origins.get(f"v{kept.version}", 0) + 1
    return SamplingFigures(
        version=version,
        prompts=len(rollouts),
        samples=int(combined.size),
        mean_reward=float(combined.mean()),
        median_reward=float(np.median(combined)),
        kept_reward=float(np.mean([kept.combined for kept in best])) if best else 0.0,
        max_reward_by_n=dict(max_by_n),
        pool_size=len(pool),
        pool_origins=dict(sorted(origins.items())),
        mean_answer_tokens=float(np.mean(lengths)),
        cut_share=float(np.mean(cut)),
        prompts_left_out=left_out,
    )


def _powers(most: int) -> list[int]:
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < most]
    return [*counts, most]
