"""PPO (Llama 2 paper, 3.2.3): maximise the whitened combined reward minus beta times the KL to the start.

B answers of an iteration, N tokens of the longest one.

Left open by the paper, ours here: the value function (the helpfulness reward model's body under a head of its own,
trained alone in the first iterations), GAE, the per-token KL estimator, whitening over the batch.  Offered beside the
paper's: the KL in the loss, a coefficient that follows a target (`rl/kl.py`), a running scale of the rewards and a
penalty on length (`rl/scale.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignment.batch.render import answer_tree
from alignment.data.corpus import Loaded
from alignment.errors import DataError, NonFiniteError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.generate.settings import SamplingSettings
from alignment.given import given_prompts
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.randomness import named_generator
from alignment.records import Dialogue, Document
from alignment.store.atomic import write_json
from alignment.train.adapter import make_whole, num_trained
from alignment.train.compute import is_main_process
from alignment.train.loop import Loop, finish
from alignment.train.session import Session
from rl.best import Best
from rl.experience import AnswerTokens, Experience
from rl.judges import RewardJudges, is_safety_prompt
from rl.kl import KlCoefficient
from rl.objective import generalised_advantages, kl_estimates, token_rewards, whiten
from rl.replay import open_replay
from rl.result import HeldOut, PpoResult
from rl.roles import Roles, open_roles
from rl.rollout import Prompt, Rollout, mean_scores, score_rollouts, watched_by_prompt
from rl.scale import RewardScale, penalties, was_cut
from rl.settings import PpoSettings
from rl.update import update
from rl.value import as_rows


@dataclass(frozen=True, kw_only=True)
class PromptSplit:
    """Prompts to train on, and held-out ones that tell which model is the best; safety prompts are tagged."""

    train: Sequence[Dialogue]
    held_out: Sequence[Dialogue]


def train_ppo(
    policy: Policy,
    judges: RewardJudges,
    prompts: PromptSplit | Loaded[Dialogue],
    settings: PpoSettings,
    session: Session,
    documents: Iterable[Document] = (),
) -> PpoResult:
    """Run PPO and save the best model to `checkpoint/`; goes on where an earlier call stopped.

    Args:
        policy: trained in place; as it is now it is the reference.
        judges: the reward models; the value function starts from the helpfulness model.  Which iteration is the best
            is told by the watch model where there is one, which rewards nothing, else by the combined reward.
        prompts: as `load_prompts` gives them, or a `PromptSplit`.
        documents: to draw from where `settings.replay` asks for some.

    Returns:
        Iterations run and the held-out rewards by iteration; also in `ppo.json`.

    Raises:
        DataError: no prompt leaves room for an answer, or there is no document to replay.
        TokenizerError: a judge was made with another tokenizer than the policy.
        UsageError, MissingExtra, SettingError: an adapter is asked for that cannot be trained.
        NonFiniteError: a reward, ratio, loss or gradient is not finite and no skip is left (`nonfinite_skips`); before
            the update, with `nonfinite.json` written.
        Interrupted: a signal came; the iteration was finished and saved.
    """
    roles = open_roles(policy, judges, settings, session)  # pi, pi_0, V and two optimizers, on their devices
    train, left_out = fitting_prompts(given_prompts(prompts.train, "prompts.train"), policy, settings.sampling)
    test, _ = fitting_prompts(given_prompts(prompts.held_out, "prompts.held_out"), policy, settings.sampling)
    if not train or not test:
        raise DataError(f"PPO has {len(train)} fitting prompts and {len(test)} held-out ones; both are needed")
    replay = open_replay(documents, settings.replay, policy, seed=session.seed)
    best, scale, beta = Best(roles.policy.model), RewardScale(settings.reward_scale), KlCoefficient(settings)
    saved = roles.saved() | {"best": best, "scale": scale, "beta": beta}
    alone, num_steps = settings.value_iterations, settings.value_iterations + settings.iterations
    with Loop(session, settings, num_steps=num_steps, unit="iterations", saved=saved) as loop:
        if loop.fresh:
            best.offer(held_out(roles, judges, test, settings, session, loop))
        if best.age >= settings.patience:
            loop.end()
        for iteration in loop:
            # 1. prompts of this iteration, one answer each from the current policy;
            # 2. both reward models: R_c piecewise, R~_c = whiten(logit R_c) over the batch (or a running scale)
            asked = draw_prompts(train, settings.batch_size, seed=session.seed, iteration=iteration)
            rollouts = roll_out(roles, asked, judges, settings, session, loop)
            if rollouts:
                raw = torch.tensor([rollout.combined[0] for rollout in rollouts], dtype=torch.float32)  # [B]
                score = scale(raw) - penalties(rollouts, settings)
                # 3. log pi, log pi_0, V at every answer token; r_t = -beta (log pi - log pi_0) + [last] R~_c; GAE
                trees = [
                    answer_tree(r.prompt_ids, [r.samples[0].token_ids], row=str(r.prompt.source), trained=True)
                    for r in rollouts
                ]
                drawn = [r.samples[0].log_probs for r in rollouts] if settings.log_probs == "sampler" else None
                now = roles.per_token(trees, drawn)  # [B, N] each
                rewards = token_rewards(
                    score, now.log_probs, now.reference, now.mask, beta.in_reward, settings.kl_estimator
                )
                advantages, returns = generalised_advantages(
                    rewards, now.values, now.mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda
                )
                experience = Experience(trees=tuple(trees), tokens=now, advantages=advantages, returns=returns)
                figures = figures_of(rollouts, raw, experience)
                if drawn is None:
                    figures |= sampler_gap(rollouts, now)
                loop.log(figures | beta.figures())
                if settings.whiten_advantages:
                    experience = dataclasses.replace(experience, advantages=whiten(advantages, now.mask))
                # 4. mini-batches: clipped policy and value loss, one gradient step of each; at first of V alone
                roles.set_learning_rates(settings, iteration - alone)
                updates: list[dict[str, float] | None] = []
                for members in minibatches(len(rollouts), settings, seed=session.seed, iteration=iteration):
                    value_alone = iteration < alone
                    texts = None if value_alone else replay(iteration, len(updates))
                    made = update(
                        roles,
                        experience,
                        members,
                        settings,
                        loop,
                        value_alone=value_alone,
                        replay=texts,
                        kl_weight=beta.in_loss,
                    )
                    updates.append(made)
                loop.log(mean_of([made for made in updates if made is not None]))
                if updates[0] is not None:  # the policy was still the one that drew
                    loop.log({name: gap for name, gap in updates[0].items() if name.startswith("sampler_gap")})
                if iteration >= alone:
                    beta.follow(figures["kl"], len(rollouts))
            # 5. greedy answers to held-out prompts; the best model so far is the result
            if loop.done > alone and loop.due(settings.evaluate_every):
                best.offer(held_out(roles, judges, test, settings, session, loop))
                loop.log({"held_out_reward": best.course[-1].reward})
                if best.course[-1].watch is not None:
                    loop.log({"held_out_watch": best.course[-1].watch})
                if best.age >= settings.patience:
                    loop.end()
    best.restore()
    result = PpoResult(
        iterations=loop.done,
        course=tuple(best.course),
        left_out=left_out,
        skipped=loop.num_skipped,
        adapter_parameters=num_trained(roles.policy.model),
    )
    checkpoint = session.folder / "checkpoint"
    if is_main_process():
        save_policy(roles.policy, checkpoint, meta={"stage": "ppo", "fingerprint": session.fingerprint})
        write_json(session.folder / "ppo.json", result.as_json())
    finish(session)
    make_whole(roles.policy.model, settings.adapter, lambda: load_policy(checkpoint).model)
    return result


def draw_prompts(prompts: Sequence[Prompt], count: int, *, seed: int, iteration: int) -> list[Prompt]:
    """The prompts of one iteration, without replacement where there are enough.

    A prompt that is drawn twice has two names, or both would get one sample.
    """
    picked = named_generator(seed, "ppo-prompts", iteration).choice(
        len(prompts), size=count, replace=count > len(prompts)
    )
    chosen = [prompts[i] for i in picked.tolist()]
    return [
        (dataclasses.replace(prompt, id=f"{prompt.id}#{place}"), token_ids)
        for place, (prompt, token_ids) in enumerate(chosen)
    ]


def minibatches(count: int, settings: PpoSettings, *, seed: int, iteration: int) -> Iterator[list[int]]:
    """Places of the answers of each gradient step: every answer once an epoch."""
    for epoch in range(settings.epochs):
        order = named_generator(seed, "ppo-minibatches", iteration, epoch).permutation(count).tolist()
        for at in range(0, count, settings.minibatch_size):
            yield order[at : at + settings.minibatch_size]


def roll_out(
    roles: Roles, asked: Sequence[Prompt], judges: RewardJudges, settings: PpoSettings, session: Session, loop: Loop
) -> list[Rollout]:
    """One scored answer to each prompt of the iteration in hand; none if a reward is not finite, which is one skip."""
    iteration = loop.done - 1
    names, file = ("ppo", iteration), f"iteration-{iteration:05d}.jsonl"
    try:
        return _drawn_and_scored(
            roles, asked, judges, settings.sampling, session, names=names, file=file, watched=not judges.watch_is_paid
        )
    except NonFiniteError as error:  # without rewards the iteration has no update at all
        loop.skip(error.quantity, error.value, error.rows)
        return []


def held_out(
    roles: Roles, judges: RewardJudges, prompts: Sequence[Prompt], settings: PpoSettings, session: Session, loop: Loop
) -> HeldOut:
    """Mean scores of greedy answers to held-out prompts.

    Raises:
        NonFiniteError: a reward is not finite; without it the best model cannot be told, so no skip helps.
    """
    greedy = settings.sampling.greedy()
    names, file = ("ppo-held-out", loop.done), f"held-out-{loop.done:05d}.jsonl"
    try:
        rollouts = _drawn_and_scored(roles, prompts, judges, greedy, session, names=names, file=file)
    except NonFiniteError as error:
        loop.refuse(f"held-out {error.quantity}", error.value, error.rows)
    roles.policy.model.train()
    return HeldOut(
        iteration=loop.done,
        reward=float(np.mean([rollout.combined[0] for rollout in rollouts])),
        watch_by_prompt=watched_by_prompt(rollouts),
        **mean_scores(rollouts),
    )


def figures_of(rollouts: Sequence[Rollout], raw: Tensor, experience: Experience) -> dict[str, float]:
    """An iteration's figures before its update; `kl` is the estimator k1.

    Args:
        raw: [B] combined rewards before whitening.
        experience: with the advantages as they are before whitening.
    """
    now = experience.tokens
    kl = kl_estimates(now.log_probs, now.reference, now.mask)
    return {
        "reward": float(raw.mean()),
        **mean_scores(rollouts),
        "kl": float(kl["k1"]),
        "kl_k3": float(kl["k3"]),
        "answer_tokens": float(now.mask.sum() / max(len(rollouts), 1)),
        "cut_share": float(was_cut(rollouts).mean()),
        "explained_variance": explained_variance(experience.returns, now.values, now.mask),
        **explained_by_campaign(rollouts, experience),
        "entropy": -float(now.log_probs[now.mask].mean()),
    }


def explained_variance(returns: Tensor, values: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over real tokens [B, N]: 1 is a perfect value function, 0 a constant."""
    spread = returns[mask].var(correction=0).clamp_min(1e-8)
    return float(1.0 - (returns - values)[mask].var(correction=0) / spread)


def explained_by_campaign(rollouts: Sequence[Rollout], experience: Experience) -> dict[str, float]:
    """The explained variance of each campaign's answers, whose rewards are other models'; none where there is one."""
    tagged = torch.tensor([is_safety_prompt(rollout.prompt) for rollout in rollouts])
    if tagged.all() or not tagged.any():
        return {}
    now = experience.tokens
    return {
        f"explained_variance_{campaign}": explained_variance(experience.returns[own], now.values[own], now.mask[own])
        for campaign, own in (("helpfulness", ~tagged), ("safety", tagged))
    }


def sampler_gap(rollouts: Sequence[Rollout], now: AnswerTokens) -> dict[str, float]:
    """How far the sampler's log-probabilities lie from the trainer's, an answer token: mean and largest, in nats.

    Both are of one model and one distribution; they differ by the order and the precision of their sums.  PPO's
    ratios are the trainer's over the trainer's, so that a gap does no harm until it is large: then the answers are
    another model's.  (Where they are the trainer's over the sampler's, the first update tells the gap.)
    """
    drawn, _ = as_rows([rollout.samples[0].log_probs for rollout in rollouts])
    gaps = (drawn - now.log_probs)[now.mask].abs()
    return {"sampler_gap": float(gaps.mean()), "sampler_gap_max": float(gaps.max())}


def mean_of(updates: Sequence[dict[str, float]]) -> dict[str, float]:
    """The updates' figures, averaged by name; none of no updates."""
    return {name: float(np.mean([made[name] for made in updates])) for name in (updates[0] if updates else ())}


def _drawn_and_scored(
    roles: Roles,
    prompts: Sequence[Prompt],
    judges: RewardJudges,
    sampling: SamplingSettings,
    session: Session,
    *,
    names: tuple[str | int, ...],
    file: str,
    watched: bool = True,
) -> list[Rollout]:
    """One answer to each prompt, drawn (or read from its journal) and scored."""
    samples = draw_samples(
        roles.policy,
        prompts,
        num_samples=1,
        sampling=sampling,
        seed=session.seed,
        names=names,
        journal_path=session.folder / JOURNALS / file,
    )
    return score_rollouts(prompts, samples, roles.policy, judges, watched=watched)
