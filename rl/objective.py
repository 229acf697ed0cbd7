"""RLHF's arithmetic, pure: combined reward, whitening, KL, GAE, the clipped objectives (Llama 2 paper, 3.2.3).

Index convention: B answers padded to N tokens.  Token t of an answer is the action a_t; log-probability
and value at t belong to the state s_t *before* a_t; the reward r_t follows a_t.  `mask` [B, N] is True
at real tokens; what stands at masked places never changes a result.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

KlEstimator = Literal["k1", "k3"]


def combined_reward(helpfulness: Tensor, safety: Tensor, is_safety_prompt: Tensor, threshold: float = 0.15) -> Tensor:
    """R_c before its logit is whitened: the safety score where it must count, else the helpfulness score.

        R_c = R_s  if the prompt is tagged "safety" or sigma(R_s) < threshold,   else R_h

    Scores are kept as logits (before the sigmoid), so LOGIT(R_c) is the result itself.

    Args:
        helpfulness: [B] scores of the helpfulness model, before the sigmoid.
        safety: [B] scores of the safety model, before the sigmoid.
        is_safety_prompt: [B] booleans.
        threshold: as a probability; 0.15 in the paper (logit -1.7346).
    """
    edge = (
        math.log(threshold / (1.0 - threshold))
        if 0.0 < threshold < 1.0
        else (-math.inf if threshold <= 0 else math.inf)
    )
    return torch.where(is_safety_prompt | (safety < edge), safety, helpfulness)


def whiten(values: Tensor, mask: Tensor | None = None, eps: float = 1e-8) -> Tensor:
    """Standardise to zero mean and unit (population) variance over the unmasked values.

    A single value, or values without variance, become 0.  Masked places become 0.
    """
    if mask is None:
        mask = torch.ones_like(values, dtype=torch.bool)
    count = mask.sum().clamp_min(1)
    kept = torch.where(mask, values, torch.zeros_like(values))
    mean = kept.sum() / count
    centred = torch.where(mask, values - mean, torch.zeros_like(values))
    variance = centred.square().sum() / count
    return centred * torch.rsqrt(variance + eps)


def token_kl(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor, estimator: KlEstimator) -> Tensor:
    """KL(pi || pi_0) at each token drawn from pi, in nats, by an estimator named as in Schulman 2020 ("Approximating KL
    divergence"); r = pi_0 / pi at the token.

        k1 = -log r,   k3 = (r - 1) - log r

    Both have the KL as their mean.  k1 can be negative; k3 never is, and varies less while the two models are close.

    Args:
        log_probs, reference_log_probs: [B, N].

    Returns:
        [B, N], 0 at masked places.
    """
    difference = torch.where(mask, log_probs - reference_log_probs, torch.zeros_like(log_probs))  # -log r
    return difference if estimator == "k1" else torch.exp(-difference) - 1.0 + difference


def token_rewards(
    score: Tensor,
    log_probs: Tensor,
    reference_log_probs: Tensor,
    mask: Tensor,
    beta: float,
    estimator: KlEstimator = "k1",
) -> Tensor:
    """Reward at each token: -beta * KL, plus the answer's score at its last token.

        r_t = -beta k(a_t|s_t)  +  [t is last] R~_c,   k1 = log pi(a_t|s_t) - log pi_0(a_t|s_t)

    The sum over an answer is R(g|p) = R~_c - beta * KL with that estimator (the paper does not name its own; ours is
    k1, per token).  With k1 the policy gradient is that of the KL itself: the mean of k1 grad log pi.  With k3 it is
    that less the gradient of KL(pi_0 || pi), since a reward's own gradient is never taken.

    Args:
        score: [B] whitened combined rewards.
        log_probs, reference_log_probs: [B, N].

    Returns:
        [B, N], 0 at masked places.
    """
    zeros = torch.zeros_like(log_probs)
    rewards = torch.where(mask, -beta * token_kl(log_probs, reference_log_probs, mask, estimator), zeros)
    has_tokens = mask.any(dim=1)
    last = (mask.long().cumsum(dim=1) == mask.sum(dim=1, keepdim=True)) & mask
    return rewards + torch.where(last & has_tokens[:, None], score[:, None].expand_as(rewards), zeros)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """GAE (Schulman et al., 2016): A_t = delta_t + gamma lambda A_{t+1},  delta_t = r_t + gamma V_{t+1} - V_t.

    The value after an answer's last token is 0.

    Returns:
        advantages and returns (advantages + values), [B, N] each, 0 at masked places.
    """
    zeros = torch.zeros_like(values)
    rewards, values = torch.where(mask, rewards, zeros), torch.where(mask, values, zeros)
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0]) if values.shape[1] else values.new_zeros(values.shape[0])
    after = torch.zeros_like(running)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * after - values[:, t]
        here = delta + gamma * gae_lambda * running
        running = torch.where(mask[:, t], here, torch.zeros_like(here))
        after = torch.where(mask[:, t], values[:, t], torch.zeros_like(here))
        advantages[:, t] = running
    return advantages, torch.where(mask, advantages + values, zeros)


def clipped_policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor, Tensor]:
    """PPO's clipped objective, as a loss: -min(ratio A, clip(ratio, 1-c, 1+c) A), summed over real tokens.

    Returns:
        the summed loss, the ratios [B, N] (1 at masked places), and the summed count of clipped tokens.
    """
    zeros = torch.zeros_like(log_probs)
    ratio = torch.exp(torch.where(mask, log_probs - old_log_probs, zeros))
    advantages = torch.where(mask, advantages, zeros)
    plain, clipped = ratio * advantages, ratio.clamp(1.0 - clip, 1.0 + clip) * advantages
    loss = torch.where(mask, -torch.minimum(plain, clipped), zeros).sum()
    return loss, ratio, ((clipped < plain) & mask).sum()


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Half the squared error to the returns, summed; with `clip` > 0 the larger of plain and clipped prediction.

    The clipped prediction moves at most `clip` away from the rollout's value.
    """
    zeros = torch.zeros_like(values)
    values, old_values = torch.where(mask, values, zeros), torch.where(mask, old_values, zeros)
    returns = torch.where(mask, returns, zeros)
    error = (values - returns).square()
    if clip > 0:
        held = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (held - returns).square())
    return 0.5 * torch.where(mask, error, zeros).sum()


def kl_loss(log_probs: Tensor, old_log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> Tensor:
    """KL(pi || pi_0) as a term of the loss, summed over tokens that pi_old sampled: (pi / pi_old) k3.

    k3 per token as in GRPO (Shao et al. 2024, eq. 4), weighted by the ratio as in DeepSeek-V3.2 (2025, eq. 7).  Without
    the weight its gradient is the mean of (1 - r) grad log pi, that of KL(pi_0 || pi), and its optimum another one than
    pi_0 exp(R / beta).

    Args:
        log_probs: [B, N] with gradient.
        old_log_probs: [B, N] of the policy that sampled.
        reference_log_probs: [B, N] of pi_0.
    """
    ratio = torch.exp(torch.where(mask, log_probs - old_log_probs, torch.zeros_like(log_probs)))
    return (ratio * token_kl(log_probs, reference_log_probs, mask, "k3")).sum()


def kl_estimates(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> dict[KlEstimator, Tensor]:
    """Mean KL an answer by each estimator, in nats."""
    answers = max(log_probs.shape[0], 1)
    named: tuple[KlEstimator, ...] = ("k1", "k3")
    return {name: token_kl(log_probs, reference_log_probs, mask, name).sum() / answers for name in named}
