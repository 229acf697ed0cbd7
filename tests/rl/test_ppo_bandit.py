"""PPO on a bandit with a closed-form optimum: one prompt, answers of one token, a real policy whose softmax is exact.

What PPO maximises, E[R] - beta KL(pi || pi_0), has the optimum pi proportional to pi_0 exp(R / beta) (Rafailov et
al. 2023, eq. 4).  There R - beta log(pi / pi_0) is the same of every answer, so that no advantage is left and the noise
of sampling vanishes: the optimum is reached, not only hovered around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import rl.ppo
from alignment.generate.draw import fitting_prompts
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.train.compute import Compute
from alignment.train.session import Session
from rl.best import Best
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.roles import Roles
from rl.scale import RewardScale
from rl.settings import PpoOptimizerSettings, PpoSettings, RolloutSettings

BETA = 0.5
TOLERANCE = 0.002  # nats between the policy at the end and the optimum; an arm's share is then right to about 0.01
PROMPT = Dialogue.of("a")
SETTINGS = PpoSettings(
    iterations=60,
    value_iterations=0,
    batch_size=64,
    minibatch_size=64,
    kl_coefficient=BETA,
    value_learning_rate=1e-2,
    value_weight=1.0,
    value_clip=0.0,
    whiten_advantages=False,
    evaluate_every=1_000,
    save_every=1_000,
    sampling=RolloutSettings(max_new_tokens=1),
    optimizer=PpoOptimizerSettings(
        learning_rate=3e-3, weight_decay=0.0, schedule="cosine", final_fraction=0.01, max_grad_norm=1e9
    ),
)


ARMS = {10: (0.35, 0.0), 11: (0.05, 1.0), 12: (0.25, 0.5), 13: (0.1, 1.0), 14: (0.2, 0.0), 15: (0.05, 0.5)}  # pi_0, R
REWARDS = {token: reward for token, (_, reward) in ARMS.items()}
ELSEWHERE = -16.0  # the other tokens' logits: together they have a ten-thousandth of the start's mass


@dataclass(frozen=True)
class Arms:
    """Rewards of one-token answers."""

    rewards: Mapping[int, float]
    tokenizer: None = None

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        return [self.rewards.get(answer.token_ids[0], 0.0) for answer in answers]


@pytest.fixture
def bandit(policy: Policy) -> Policy:
    """The tiny policy, its last layer such that the first token of an answer is one of six."""
    with torch.no_grad():
        state = policy.model.model(torch.tensor([ids_of(PROMPT, policy)])).last_hidden_state[0, -1]
        logits = torch.full((policy.tokenizer.vocab_size,), ELSEWHERE)
        logits[list(ARMS)] = torch.tensor([math.log(start) for start, _ in ARMS.values()])
        policy.model.lm_head.weight.copy_(logits[:, None] * state / state.square().sum())
    return policy


@pytest.fixture(autouse=True)
def _the_last_model_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Best, "restore", lambda self: None)


def ids_of(prompt: Dialogue, policy: Policy) -> tuple[int, ...]:
    fitting, _ = fitting_prompts([prompt], policy, SETTINGS.sampling)
    return fitting[0][1]


def distributions(roles: Roles) -> tuple[Tensor, Tensor]:
    """log pi and log pi_0 of every token as the answer, exactly."""
    ids = torch.tensor([ids_of(PROMPT, roles.policy)])
    with torch.no_grad():
        now, start = (model(ids).logits[0, -1].double() for model in (roles.policy.model, roles.reference))
    return now.log_softmax(dim=-1), start.log_softmax(dim=-1)


def divergence(p: Tensor, q: Tensor) -> float:
    return float((p.exp() * (p - q)).sum())


def trained(bandit: Policy, session: Session, rewards: Mapping[int, float], **changed: Any) -> None:
    judges = RewardJudges(helpfulness=Arms(rewards), compute=session.compute)
    split = PromptSplit(train=[PROMPT], held_out=[PROMPT])
    train_ppo(bandit, judges, split, SETTINGS.model_copy(update=changed), session)


def optimum(start: Tensor, beta: float) -> Tensor:
    """log of pi_0 exp(R / beta), normalised."""
    return (start + rewards_of(start) / beta).log_softmax(dim=-1)


def rewards_of(log_probs: Tensor) -> Tensor:
    rewards = torch.zeros_like(log_probs)
    rewards[list(REWARDS)] = torch.tensor(list(REWARDS.values()), dtype=rewards.dtype)
    return rewards


def spread(log_probs: Tensor) -> float:
    """Standard deviation of the reward under a policy."""
    rewards, probs = rewards_of(log_probs), log_probs.exp()
    return float((probs * (rewards - (probs * rewards).sum()).square()).sum().sqrt())


@pytest.fixture
def _rewards_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whitening divides by the policy's own spread of rewards, which moves with it."""
    monkeypatch.setattr(RewardScale, "__call__", lambda self, rewards: rewards)


@pytest.mark.slow
@pytest.mark.usefixtures("_rewards_as_they_are")
@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_ppo_ends_at_the_start_times_exp_of_the_reward_over_beta(
    bandit: Policy, session: Session, opened: list[Roles], kl_in: str
) -> None:
    trained(bandit, session, REWARDS, kl_in=kl_in)
    now, start = distributions(opened[0])
    assert divergence(now, optimum(start, BETA)) < TOLERANCE
    assert divergence(optimum(start, BETA), start) > 100 * TOLERANCE  # it had a way to go


@pytest.mark.slow
def test_whitened_over_the_batch_the_optimum_is_that_of_the_rewards_as_they_are_scaled_there(
    bandit: Policy, session: Session, opened: list[Roles]
) -> None:
    trained(bandit, session, REWARDS, kl_coefficient=1.0)
    now, start = distributions(opened[0])
    wanted = start
    for _ in range(100):  # pi = pi_0 exp(R / (beta sigma(pi))): its own spread scales the reward
        wanted = optimum(start, 1.0 * spread(wanted))
    assert divergence(now, wanted) < 5 * TOLERANCE  # a batch's spread is not the policy's
    assert divergence(wanted, start) > 100 * TOLERANCE


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_without_a_reward_it_stays_at_the_start(
    bandit: Policy, session: Session, opened: list[Roles], kl_in: str
) -> None:
    trained(bandit, session, dict.fromkeys(ARMS, 0.0), kl_in=kl_in, iterations=5)
    assert divergence(*distributions(opened[0])) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_without_a_reward_it_comes_back_to_the_start(
    bandit: Policy, session: Session, opened: list[Roles], kl_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away: list[float] = []
    real = rl.ppo.open_roles

    def elsewhere(*arguments: Any) -> Roles:
        roles = real(*arguments)
        with torch.no_grad():
            rows = roles.policy.model.lm_head.weight
            rows[list(ARMS)] = rows[list(ARMS)].roll(1, dims=0)  # every arm takes its neighbour's place
        away.append(divergence(*distributions(roles)))
        return roles

    monkeypatch.setattr(rl.ppo, "open_roles", elsewhere)
    trained(bandit, session, dict.fromkeys(ARMS, 0.0), kl_in=kl_in)
    assert away[0] > 100 * TOLERANCE
    assert divergence(*distributions(opened[0])) < 5 * TOLERANCE  # tokens elsewhere are hardly ever drawn
