"""PPO on a bandit with a closed-form optimum: one prompt, answers of one token, a real policy whose softmax is exact.

What PPO maximises, E[R] - beta KL(pi || pi_0), has the optimum pi proportional to pi_0 exp(R / beta) (Rafailov et al.
2023, eq. 4).  There every answer has the same reward less beta log(pi / pi_0), so that no advantage is left and the noise
of sampling vanishes: the optimum is reached, not only hovered around.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from alignment.generate.draw import fitting_prompts
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.train.compute import Compute
from alignment.train.session import Session
from rl.best import Best
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.roles import Roles
from rl.settings import PpoOptimizerSettings, PpoSettings, RolloutSettings

BETA = 0.5
SETTINGS = PpoSettings(
    iterations=60,
    value_iterations=0,
    batch_size=256,
    minibatch_size=256,
    kl_coefficient=BETA,
    value_learning_rate=1e-2,
    value_weight=1.0,
    value_clip=0.0,
    whiten_advantages=False,
    evaluate_every=1_000,
    save_every=1_000,
    sampling=RolloutSettings(max_new_tokens=1),
    optimizer=PpoOptimizerSettings(
        learning_rate=1e-2, weight_decay=0.0, schedule="cosine", final_fraction=0.01, max_grad_norm=1e9
    ),
)


@dataclass(frozen=True)
class Arms:
    """Rewards of one-token answers: `rewards` in turn, by the token's number."""

    rewards: tuple[float, ...]
    tokenizer: None = None

    def of(self, token: int) -> float:
        return self.rewards[token % len(self.rewards)]

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        return [self.of(answer.token_ids[0]) for answer in answers]


@pytest.fixture
def bandit(policy: Policy) -> Policy:
    """A start that is far from uniform, so that pi_0 counts."""
    with torch.no_grad():
        policy.model.lm_head.weight *= 8.0
    return policy


@pytest.fixture(autouse=True)
def _the_last_model_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Best, "restore", lambda self: None)


def distributions(roles: Roles, prompt: Dialogue) -> tuple[Tensor, Tensor]:
    """log pi and log pi_0 of every token as the answer, exactly."""
    fitting, _ = fitting_prompts([prompt], roles.policy, SETTINGS.sampling)
    ids = torch.tensor([fitting[0][1]])
    with torch.no_grad():
        found = [model(ids).logits[0, -1].double().log_softmax(dim=-1) for model in (roles.policy.model, roles.reference)]
    return found[0], found[1]


def divergence(p: Tensor, q: Tensor) -> float:
    return float((p.exp() * (p - q)).sum())


@pytest.mark.parametrize("lr", [3e-3,1e-2])
@pytest.mark.parametrize("its,bs", [(40,128),(40,256)])
@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_it_converges(bandit, session, prompts, opened, kl_in, lr, its, bs, monkeypatch):
    import time
    t=time.time()
    from rl.scale import RewardScale
    monkeypatch.setattr(RewardScale, "__call__", lambda self, x: x)
    arms = Arms((0.0, 0.5, 1.0))
    prompt = Dialogue.of("a")
    settings = SETTINGS.model_copy(update={"kl_in": kl_in, "iterations": its, "batch_size": bs, "minibatch_size": bs, "optimizer": SETTINGS.optimizer.model_copy(update={"learning_rate": lr})})
    train_ppo(bandit, RewardJudges(helpfulness=arms, compute=session.compute), PromptSplit(train=[prompt], held_out=[prompt]), settings, session)
    now, start = distributions(opened[0], prompt)
    R = torch.tensor([arms.of(i) for i in range(len(now))], dtype=torch.float64)
    opt = (start + R/BETA).log_softmax(-1)
    print("RES", kl_in, lr, its, bs, "KL to opt", divergence(now,opt), "KL start", divergence(now,start), "opt->start", divergence(opt,start), "time", time.time()-t)
