"""Rejection sampling fine-tuning (Llama 2 paper, 3.2.3): one RLHF version.

1. sample K answers to each prompt from the most recent model, at one temperature or at the best of several;
2. score them with the best reward models and keep the best of each prompt;
3. candidates are the best of *all* earlier versions too (from V4 on in the paper; `pool: previous` leaves that out),
   scored again where the reward models are new;
4. fine-tune on the kept answers as in SFT.

With two policies the samples of one train the other: distillation, as the paper's smaller models learnt from what
rejection sampling kept of the 70B model's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alignment.batch.render import dialogue_trees
from alignment.data.mixing import mix_in
from alignment.errors import DataError, NonFiniteError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.given import answered_dialogues, given_prompts
from alignment.policy.pairing import require_same_tokenizer
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.records import Dialogue, Document
from alignment.store.atomic import write_json
from alignment.train.compute import resolve_compute
from alignment.train.language_model import longest_sequence, train_language_model
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.replay import given_replay, replayed_by_share
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from rl.best_of_n import best_by_n, powers
from rl.guard import greedy_answers, guard_kept, held_against
from rl.judges import RewardJudges
from rl.kept import KEPT_FILE, Kept, best_of_pool, demonstrable, kept_tree, top_of, write_kept
from rl.pool import kept_earlier
from rl.result import Guarded, RejectionResult, SamplingFigures
from rl.rollout import Rollout, score_rollouts
from rl.scored_by import write_scored_by
from rl.settings import RejectionSettings
from rl.sweep import sweep_temperatures


def rejection_sample(
    policy: Policy,
    prompts: Iterable[Dialogue],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    *,
    version: int = 1,
    earlier: Sequence[Path] = (),
    rescore: bool | None = None,
    sft_dialogues: Iterable[Dialogue] = (),
    start: Policy | None = None,
    documents: Iterable[Document] = (),
    before_tuning: Callable[[SamplingFigures], None] = lambda figures: None,
) -> RejectionResult:
    """Make one RLHF version and save it to `checkpoint/` in the session's folder.

    Args:
        policy: the one that samples: the most recent model, or in distillation a larger one.
        prompts: all training prompts.
        judges: the reward models.
        version: its number, from 1; names the draws.
        earlier: folders of earlier rejection stages, whose kept answers stay in the pool.
        rescore: whether the reward models score them again, so that answers of different versions are compared by one
            measure; None: where they were scored by other models than these, or their folder does not say by which.
        sft_dialogues: demonstrations to mix in (`sft_share`).
        start: the model that is fine-tuned (the policy itself by default), with the same tokenizer; changed in place.
        documents: to draw from where `settings.replay` asks for some.
        before_tuning: is shown what was kept, and may refuse to go on by an error of its own.

    Returns:
        The sampling's figures, which `rejection.json` holds too, and the fine-tuning's.

    Raises:
        UsageError: what is given holds no dialogues, or no documents.
        DataError: a prompt ends with an answer, no prompt fits the context, no answer can be kept, there is no
            document to replay, or not one prompt of an earlier version is a training prompt any more.
        TokenizerError: a judge, or the model that is fine-tuned, was made with another tokenizer than the policy.
        NonFiniteError: a reward is NaN or infinite; `nonfinite.json` names its row.
    """
    judges.require_fit(policy)
    if start is not None:
        require_same_tokenizer(start.tokenizer, "the model that is tuned", policy.tokenizer, "the one that samples")
    prompts = given_prompts(prompts, "prompts")
    mixed_in = answered_dialogues(sft_dialogues, "sft_dialogues")
    texts = given_replay(documents) if settings.replay is not None else []
    chosen = choose_prompts(prompts, settings.prompts_per_version, seed=session.seed, version=version)
    fitting, left_out = fitting_prompts(chosen, policy, settings.sampling)
    if not fitting:
        raise DataError(f"RLHF-V{version}: none of {len(chosen)} prompts leaves room for an answer in the context")
    resolve_compute(session.compute).place(policy.model)
    by_id = {prompt.id: prompt for prompt in prompts}
    told: Guarded | None = None
    try:
        swept = sweep_temperatures(policy, fitting, judges, settings, session, version)
        sampling = settings.sampling
        if swept is not None:
            sampling = sampling.model_copy(update={"temperature": swept.chosen})
        session.progress.begin(None, "samples")
        samples = draw_samples(
            policy,
            fitting,
            num_samples=settings.samples_per_prompt,
            sampling=sampling,
            seed=session.seed,
            names=("rejection", version),
            journal_path=session.folder / JOURNALS / "rejection.jsonl",
        )
        session.progress.end()
        session.stop.check()
        rollouts = score_rollouts(fitting, samples, policy, judges)
        usable = [demonstrable(rollout, policy.tokenizer) for rollout in rollouts]
        choices = zip(rollouts, usable, strict=True)
        count = settings.kept_per_prompt
        best = [kept for rollout, places in choices for kept in top_of(rollout, places, version, count)]
        if settings.guard is not None:
            greedy = greedy_answers(policy, fitting, judges, settings, session, version)
            best = guard_kept(best, greedy, settings.guard)
            told = held_against(best, greedy, fitting, policy, judges)
        folders = earlier if settings.pool == "all" else ()
        history = kept_earlier(folders, by_id, judges, policy, rescore=rescore)
    except NonFiniteError as error:
        NonFiniteSteps(session.folder, allowed=0).stop(error.quantity, error.value, step=error.step, rows=error.rows)
    if history.rescored:
        session.progress.note(
            f"RLHF-V{version}: {history.rescored:,} answers that earlier versions kept are scored again: other reward "
            f"models scored them, or nobody says which"
        )
    if set_aside := history.gone + history.changed:
        session.progress.note(f"RLHF-V{version}: {history}")
    pool = best_of_pool([*history.kept, best], count)
    write_kept(session.folder / KEPT_FILE, best)
    write_scored_by(session.folder, judges, (by_id[name] for name in dict.fromkeys(kept.prompt_id for kept in best)))
    figures = replace(
        _figures(rollouts, usable, best, pool, version, left_out), guard=told, sweep=swept, pool_set_aside=set_aside
    )
    write_json(session.folder / "rejection.json", figures.as_json())
    pairs = [(by_id[kept.prompt_id], kept) for kept in pool]
    if not pairs:
        raise DataError(f"RLHF-V{version}: no sampled answer could be kept; every one is cut, empty or marked")
    before_tuning(figures)
    tuned = _fine_tune(start or policy, pairs, mixed_in, texts, settings, session, version)
    return RejectionResult(sampling=figures, training=tuned)


def _fine_tune(
    policy: Policy,
    kept: Sequence[tuple[Dialogue, Kept]],
    sft_dialogues: Sequence[Dialogue],
    documents: Sequence[Document],
    settings: RejectionSettings,
    session: Session,
    version: int,
) -> TrainingResult:
    """SFT on the kept answers, token for token as they were scored, and on what is mixed in."""
    context = longest_sequence(policy, settings)
    trees = [kept_tree(prompt, answer, policy.tokenizer, context) for prompt, answer in kept]
    names = ("rejection-mix", version)
    prompts = [prompt for prompt, _ in kept]
    mixed = mix_in(prompts, sft_dialogues, settings.sft_share, seed=session.seed, names=names)[len(kept) :]
    demonstrations, counts = dialogue_trees(mixed, policy.tokenizer, context)
    replayed = replayed_by_share(
        documents, settings.replay, kept, policy.tokenizer, context, seed=session.seed, names=replay_names(version)
    )
    trees = [*trees, *demonstrations, *replayed.trees]
    result = train_language_model(policy, trees, (), settings, session, f"rejection-v{version}")
    return replace(result, counts={**counts, "dialogues": len(kept) + len(mixed), **replayed.counts})


def replay_names(version: int) -> tuple[str, int]:
    """What names the draw of a version's replayed documents; a control that replays the same draws by it too."""
    return "rejection-replay", version


def choose_prompts(prompts: Sequence[Dialogue], count: int, *, seed: int, version: int) -> list[Dialogue]:
    """The prompts of one version, drawn anew for each; 0 takes all."""
    if not count or count >= len(prompts):
        return list(prompts)
    picked = named_generator(seed, "rejection-prompts", version).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in sorted(picked.tolist())]


def _figures(
    rollouts: Sequence[Rollout],
    usable: Sequence[Sequence[int]],
    best: Sequence[Kept],
    pool: Sequence[Kept],
    version: int,
    left_out: int,
) -> SamplingFigures:
    combined = np.asarray([score for rollout in rollouts for score in rollout.combined])
    lengths = [len(sample.token_ids) for rollout in rollouts for sample in rollout.samples]
    cut = [sample.finish_reason == "length" for rollout in rollouts for sample in rollout.samples]
    max_by_n: dict[str, float] = {}
    for n in powers(len(rollouts[0].combined)):
        scored = zip(rollouts, usable, strict=True)
        tops = [
            max(rollout.combined[k] for k in places if k < n)
            for rollout, places in scored
            if any(k < n for k in places)
        ]
        if tops:
            max_by_n[str(n)] = float(np.mean(tops))
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
        max_reward_by_n=max_by_n,
        unusable_share=1.0 - sum(map(len, usable)) / max(int(combined.size), 1),
        pool_size=len(pool),
        pool_origins=dict(sorted(origins.items())),
        mean_answer_tokens=float(np.mean(lengths)),
        cut_share=float(np.mean(cut)),
        prompts_left_out=left_out,
        best_by_n=best_by_n(rollouts, usable),
    )
