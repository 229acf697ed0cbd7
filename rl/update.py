"""One gradient step of PPO on a mini-batch: the clipped objectives of policy and value function, and the language loss
on replayed documents."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alignment.train.language_model import language_loss
from alignment.train.loop import Loop
from rl.experience import Experience, answer_batches
from rl.objective import clipped_policy_loss, clipped_value_loss, kl_loss
from rl.replay import ReplayBatch
from rl.roles import Roles
from rl.settings import PpoSettings
from rl.value import answers_as_rows


def update(
    roles: Roles,
    experience: Experience,
    members: Sequence[int],
    settings: PpoSettings,
    loop: Loop,
    *,
    value_alone: bool = False,
    replay: ReplayBatch | None = None,
    kl_weight: float = 0.0,
) -> dict[str, float] | None:
    """One gradient step of policy and value function on a mini-batch; None if it was skipped, by both alike.

    Both losses are means over the mini-batch's answer tokens; where documents are replayed, the policy's gradient is
    that of its loss plus coefficient × their mean language loss.

    Args:
        members: places of the mini-batch's answers in the experience.
        value_alone: the policy stays as it is, and nothing of it is computed.
        replay: documents of this step; none while the value function is trained alone.
        kl_weight: beta, where the KL is a term of the policy's loss; `kl_loss` is its mean a token, before the weight.

    Raises:
        NonFiniteError: a ratio, loss or gradient is not finite and no skip is left.
    """
    device, now = roles.compute.device, experience.tokens
    learners: dict[str, tuple[nn.Module, torch.optim.Optimizer]] = {"value": (roles.value, roles.value_optimizer)}
    sums = {"value_loss": 0.0}
    if not value_alone:
        learners = {"policy": (roles.policy.model, roles.policy_optimizer), **learners}
        sums = {"policy_loss": 0.0, "value_loss": 0.0, "clip_fraction": 0.0, "ratio_mean": 0.0, "ratio_max": 0.0}
        sums |= {"kl_loss": 0.0} if kl_weight else {}
        sums |= {"sampler_gap": 0.0, "sampler_gap_max": 0.0} if settings.log_probs == "sampler" else {}
    tokens = max(int(now.mask[list(members)].sum()), 1)
    for batch in answer_batches(experience.trees, members):
        forest, at, counts = batch.forest.to(device), list(batch.members), list(batch.counts)
        had = (now.log_probs, now.reference, now.values, experience.advantages, experience.returns, now.mask)
        old, reference, values, advantages, returns, mask = (x[at, : max(counts)].to(device) for x in had)
        with roles.compute.autocast():
            flat = None if value_alone else roles.log_probs(roles.policy.model, forest)
            predicted = roles.value(forest)
        new_values, _ = answers_as_rows(predicted.float(), counts)
        value_loss = clipped_value_loss(new_values, values, returns, mask, settings.value_clip)
        sums["value_loss"] += float(value_loss.detach()) / tokens
        loss = settings.value_weight * value_loss
        if flat is not None:
            new, _ = answers_as_rows(flat.float(), counts)
            policy_loss, ratio, clipped = clipped_policy_loss(new, old, advantages, mask, settings.clip)
            odd = _not_finite(ratio, new)
            if odd is not None:
                roles.forget_gradients()
                loop.skip("log-probability ratio", odd, batch.rows)
                return None
            sums["policy_loss"] += float(policy_loss.detach()) / tokens
            sums["clip_fraction"] += float(clipped) / tokens
            sums["ratio_mean"] += float(ratio.detach()[mask].sum()) / tokens
            sums["ratio_max"] = max(sums["ratio_max"], float(ratio.detach().max()))
            loss = policy_loss + loss
            if settings.log_probs == "sampler":
                gaps = (new.detach() - old)[mask].abs()
                sums["sampler_gap"] += float(gaps.sum()) / tokens
                sums["sampler_gap_max"] = max(sums["sampler_gap_max"], float(gaps.max()))
            if kl_weight:
                term = kl_loss(new, old, reference, mask)
                sums["kl_loss"] += float(term.detach()) / tokens
                loss = loss + kl_weight * term
        (loss / tokens).backward()
    if replay is not None:
        sums["replay_loss"] = _replay(roles, replay)
        if not math.isfinite(sums["replay_loss"]):
            roles.forget_gradients()
            loop.skip("replay loss", sums["replay_loss"], replay.rows)
            return None
    for name, (model, _) in learners.items():
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm))
        for quantity, value in ((f"{name} loss", sums[f"{name}_loss"]), (f"{name} gradient norm", norm)):
            if not math.isfinite(value):
                roles.forget_gradients()
                loop.skip(quantity, value, [row for i in members for row in experience.trees[i].rows])
                return None
        sums[f"{name}_gradient_norm"] = norm
    for _, optimizer in learners.values():
        optimizer.step()
    roles.forget_gradients()
    return sums


def _replay(roles: Roles, replay: ReplayBatch) -> float:
    """Add the documents' gradient to the policy's; returns their mean loss, in nats a token, before the coefficient."""
    total = 0.0
    for forest in replay.forests:
        with roles.compute.autocast():
            loss, _ = language_loss(roles.policy.model, forest.to(roles.compute.device))
        total += float(loss.detach()) / replay.num_targets
        (replay.coefficient * loss / replay.num_targets).backward()
    return total


def _not_finite(ratio: Tensor, log_probs: Tensor) -> float | None:
    """The first ratio or log-probability that is not finite; at a log-probability of -inf the ratio is 0."""
    odd = torch.where(torch.isfinite(log_probs), ratio, log_probs).detach()
    found = odd[~torch.isfinite(odd)]
    return float(found[0]) if len(found) else None
