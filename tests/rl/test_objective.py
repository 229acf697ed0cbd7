"""RLHF's arithmetic against numbers worked out by hand, and what masks must never let through."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rl.objective import (
    KlEstimator,
    clipped_policy_loss,
    clipped_value_loss,
    combined_reward,
    generalised_advantages,
    kl_estimates,
    kl_loss,
    token_kl,
    token_rewards,
    whiten,
)

ON = torch.tensor([[True, True, True]])


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_the_safety_score_counts_below_the_threshold_or_for_safety_prompts() -> None:
    edge = math.log(0.15 / 0.85)
    assert edge == pytest.approx(-1.7346, abs=1e-4)
    helpfulness = torch.tensor([5.0, 5.0, 5.0, 5.0])
    safety = torch.tensor([edge - 0.001, edge + 0.001, 2.0, 2.0])
    tagged = torch.tensor([False, False, False, True])
    combined = combined_reward(helpfulness, safety, tagged, 0.15)
    assert combined.tolist() == pytest.approx([edge - 0.001, 5.0, 5.0, 2.0])


def test_the_papers_threshold_is_the_default() -> None:
    safety = torch.tensor([-1.8, -1.7])  # sigma: 0.142, 0.154
    assert combined_reward(torch.zeros(2), safety, torch.tensor([False, False])).tolist() == pytest.approx([-1.8, 0.0])


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, 5.0), (1.0, -9.0)])
def test_a_threshold_of_zero_or_one_means_never_or_always(threshold: float, expected: float) -> None:
    got = combined_reward(torch.tensor([5.0]), torch.tensor([-9.0]), torch.tensor([False]), threshold)
    assert got.item() == expected


def test_whitening_gives_zero_mean_and_unit_population_variance() -> None:
    white = whiten(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64))
    assert white.tolist() == pytest.approx([-1.069045, -0.534522, 0.0, 1.603567], abs=1e-5)


@pytest.mark.parametrize("values", [[4.0], [2.0, 2.0, 2.0]])
def test_whitening_values_without_variance_gives_zeros(values: list[float]) -> None:
    assert whiten(torch.tensor(values)).tolist() == [0.0] * len(values)


def test_whitening_looks_at_unmasked_values_only() -> None:
    mask = torch.tensor([[True, True, False]])
    white = whiten(torch.tensor([[1.0, 3.0, math.nan]]), mask)
    assert white.tolist()[0] == pytest.approx([-1.0, 1.0, 0.0])


def test_every_token_pays_its_kl_and_the_last_one_gets_the_score() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    log_probs = torch.tensor([[-1.0, -2.0, math.nan], [-1.0, -1.0, -1.0]])
    reference = torch.tensor([[-1.5, -1.0, math.nan], [-1.0, -1.0, -2.0]])
    rewards = token_rewards(torch.tensor([10.0, -4.0]), log_probs, reference, mask, beta=0.1)
    assert rewards[0].tolist() == pytest.approx([-0.05, 10.0 + 0.1, 0.0])
    assert rewards[1].tolist() == pytest.approx([0.0, 0.0, -4.0 - 0.1])


def test_by_k3_every_token_pays_at_least_nothing() -> None:
    """r = pi_0 / pi is e^-0.5 and e: (r - 1) - log r is 0.1065 and 0.7183."""
    mask = torch.tensor([[True, True, False]])
    log_probs, reference = row(-1.0, -2.0, math.nan), row(-1.5, -1.0, math.nan)
    rewards = token_rewards(torch.tensor([10.0]), log_probs, reference, mask, 0.1, "k3")
    costs = [math.exp(-0.5) - 1.0 + 0.5, math.e - 1.0 - 1.0]
    assert rewards[0].tolist() == pytest.approx([-0.1 * costs[0], 10.0 - 0.1 * costs[1], 0.0])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_either_estimator_has_the_kl_as_its_mean_over_the_policys_tokens(estimator: KlEstimator) -> None:
    policy, start = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    found = token_kl(policy.log()[None], start.log()[None], ON, estimator)
    assert float((policy * found).sum()) == pytest.approx(float((policy * (policy / start).log()).sum()))


def test_the_kl_as_a_loss_has_the_kls_own_gradient_and_not_that_of_the_other_direction() -> None:
    """One token of three, drawn in the shares 5 : 3 : 2 of the policy that sampled."""
    start = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64).log()
    logits = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().requires_grad_()
    drawn = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    now = logits.log_softmax(dim=0)
    mask = torch.ones(10, 1, dtype=torch.bool)
    loss = kl_loss(now[drawn][:, None], now.detach()[drawn][:, None], start[drawn][:, None], mask)
    (exact,) = torch.autograd.grad((now.exp() * (now - start)).sum(), logits, retain_graph=True)
    (found,) = torch.autograd.grad(loss / 10, logits)
    torch.testing.assert_close(found, exact)


def test_the_kl_as_a_loss_is_a_sum_over_real_tokens_of_the_ratio_times_k3() -> None:
    mask = torch.tensor([[True, True, False]])
    new, old, start = row(-1.0, -2.0, math.nan), row(-1.2, -2.0, math.nan), row(-1.5, -1.0, math.nan)
    costs = [math.exp(0.2) * (math.exp(-0.5) - 1.0 + 0.5), math.e - 2.0]
    assert kl_loss(new, old, start, mask).item() == pytest.approx(sum(costs))


def test_an_empty_answer_gets_no_reward() -> None:
    nothing = torch.zeros(1, 2)
    rewards = token_rewards(torch.tensor([7.0]), nothing, nothing, torch.zeros(1, 2, dtype=torch.bool), beta=0.1)
    assert rewards.tolist() == [[0.0, 0.0]]


def test_advantages_follow_the_recursion_worked_out_by_hand() -> None:
    # delta_2 = 3 - 2 = 1;  delta_1 = 2 + 0.9*2 - 1 = 2.8;  delta_0 = 1 + 0.9*1 - 0.5 = 1.4
    # A_2 = 1;  A_1 = 2.8 + 0.9*0.5*1 = 3.25;  A_0 = 1.4 + 0.45*3.25 = 2.8625
    advantages, returns = generalised_advantages(row(1, 2, 3), row(0.5, 1, 2), ON, gamma=0.9, gae_lambda=0.5)
    assert advantages[0].tolist() == pytest.approx([2.8625, 3.25, 1.0])
    assert returns[0].tolist() == pytest.approx([3.3625, 4.25, 3.0])


def test_with_lambda_one_returns_are_the_discounted_rewards() -> None:
    _, returns = generalised_advantages(row(1, 2, 4), row(9, -3, 5), ON, gamma=0.5, gae_lambda=1.0)
    assert returns[0].tolist() == pytest.approx([1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4])


def test_with_gamma_zero_an_advantage_is_reward_minus_value() -> None:
    advantages, _ = generalised_advantages(row(1, 2, 4), row(9, -3, 5), ON, gamma=0.0, gae_lambda=0.95)
    assert advantages[0].tolist() == pytest.approx([-8.0, 5.0, -1.0])


def test_the_value_after_the_last_token_is_zero_whatever_stands_there() -> None:
    mask = torch.tensor([[True, True, False]])
    full, _ = generalised_advantages(row(1, 2, math.nan), row(0.5, 1, math.nan), mask, gamma=1.0, gae_lambda=0.95)
    short, _ = generalised_advantages(row(1, 2), row(0.5, 1), mask[:, :2], gamma=1.0, gae_lambda=0.95)
    assert full[0, :2].tolist() == pytest.approx(short[0].tolist())
    assert full[0, 2] == 0.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.5, 2.0, -2.4, 1),  # a good action made likelier than the clip allows: held at 1.2
        (1.5, -2.0, 3.0, 0),  # a bad action made likelier: the full penalty
        (0.5, 2.0, -1.0, 0),  # a good action made rarer: the full loss
        (0.5, -2.0, 1.6, 1),  # a bad action made rarer than the clip allows: held at 0.8
        (1.0, 3.0, -3.0, 0),
    ],
)
def test_the_clipped_objective_holds_only_what_improves(
    ratio: float, advantage: float, loss: float, clipped: int
) -> None:
    mask = torch.tensor([[True]])
    got, ratios, count = clipped_policy_loss(row(math.log(ratio)), row(0.0), row(advantage), mask, clip=0.2)
    assert got.item() == pytest.approx(loss)
    assert ratios.item() == pytest.approx(ratio)
    assert count.item() == clipped


def test_the_policy_loss_is_a_sum_over_real_tokens() -> None:
    mask = torch.tensor([[True, True, False]])
    loss, _, _ = clipped_policy_loss(row(0.0, 0.0, 0.0), row(0.0, 0.0, 0.0), row(1.0, 3.0, 7.0), mask, clip=0.2)
    assert loss.item() == pytest.approx(-4.0)


def test_the_policy_gradient_vanishes_where_the_ratio_is_clipped() -> None:
    log_probs = row(math.log(1.5)).requires_grad_()
    clipped_policy_loss(log_probs, row(0.0), row(2.0), torch.tensor([[True]]), clip=0.2)[0].backward()
    assert log_probs.grad is not None
    assert log_probs.grad.item() == 0.0


def test_the_value_loss_takes_the_larger_of_plain_and_clipped_error() -> None:
    one = torch.tensor([[True]])
    # prediction moved from 0 to 1, target 1: plain error 0, clipped prediction 0.2 errs by 0.8
    assert clipped_value_loss(row(1.0), row(0.0), row(1.0), one, clip=0.2).item() == pytest.approx(0.5 * 0.64)
    # target 0: the plain error 1 is the larger
    assert clipped_value_loss(row(1.0), row(0.0), row(0.0), one, clip=0.2).item() == pytest.approx(0.5)
    assert clipped_value_loss(row(1.0), row(0.0), row(1.0), one, clip=0.0).item() == 0.0


@pytest.mark.parametrize(
    ("value", "old", "wanted", "loss"),
    [
        (3.0, 0.0, 1.0, 0.5 * 4.0),  # plain error 2, held at 0.5: error 0.5
        (3.0, 0.0, 4.0, 0.5 * 3.5**2),  # held at 0.5, which errs by 3.5
        (-3.0, 0.0, -4.0, 0.5 * 3.5**2),  # held at -0.5
        (5.2, 5.0, 2.0, 0.5 * 3.2**2),  # within the clip: the plain error
        (3.0, 2.0, 3.5, 0.5 * 1.0),  # held at 2.5, which errs by 1
    ],
)
def test_the_value_loss_by_hand(value: float, old: float, wanted: float, loss: float) -> None:
    one = torch.tensor([[True]])
    assert clipped_value_loss(row(value), row(old), row(wanted), one, clip=0.5).item() == pytest.approx(loss)


def test_the_value_loss_is_a_sum_over_real_tokens() -> None:
    mask = torch.tensor([[True, True, False]])
    loss = clipped_value_loss(row(1.0, 2.0, 9.0), row(1.0, 2.0, 9.0), row(0.0, 0.0, 0.0), mask, clip=0.5)
    assert loss.item() == pytest.approx(0.5 * (1.0 + 4.0))


def test_both_kl_estimates_by_hand() -> None:
    """Two answers of two tokens and one; d = log pi - log pi_0 is 1, -2 and 0.5."""
    mask = torch.tensor([[True, True], [True, False]])
    log_probs = torch.tensor([[-1.0, -3.0], [-0.5, math.nan]], dtype=torch.float64)
    reference = torch.tensor([[-2.0, -1.0], [-1.0, math.nan]], dtype=torch.float64)
    found = kl_estimates(log_probs, reference, mask)
    assert found["k1"].item() == pytest.approx((1.0 - 2.0 + 0.5) / 2)
    terms = [math.exp(-d) - 1.0 + d for d in (1.0, -2.0, 0.5)]
    assert found["k3"].item() == pytest.approx(sum(terms) / 2)


def test_the_nonnegative_kl_is_never_below_zero_and_both_are_zero_for_equal_policies() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(4, 5, generator=generator) for _ in range(2))
    mask = torch.ones(4, 5, dtype=torch.bool)
    found = kl_estimates(one, two, mask)
    assert found["k3"].item() > 0.0
    assert found["k1"].item() == pytest.approx((one - two).sum().item() / 4, rel=1e-5)
    assert [float(x) for x in kl_estimates(one, one, mask).values()] == [0.0, 0.0]


def test_poison_in_masked_places_changes_neither_value_nor_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def outcome(poison: float) -> tuple[list[float], list[float]]:
        base = [torch.randn(2, 3, generator=generator.manual_seed(2 + i), dtype=torch.float64) for i in range(5)]
        new, old, advantages, values, returns = (torch.where(mask, x, torch.tensor(poison)) for x in base)
        new, values = new.requires_grad_(), values.requires_grad_()
        loss = clipped_policy_loss(new, old, advantages, mask, 0.2)[0]
        loss = loss + clipped_value_loss(values, old, returns, mask, 0.2)
        loss.backward()
        assert new.grad is not None
        assert values.grad is not None
        return [loss.item()], [*new.grad.flatten().tolist(), *values.grad.flatten().tolist()]

    clean = outcome(0.0)
    assert outcome(math.nan) == clean
    assert outcome(1e30) == clean


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    new, old, advantages = (torch.randn(2, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.autograd.gradcheck(
        lambda x: clipped_policy_loss(x, old, advantages, mask, 0.2)[0], (new.requires_grad_(),)
    )
    values = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: clipped_value_loss(x, old, advantages, mask, 0.2), (values,))
