"""The reward models' losses against hand-worked numbers and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from alignment.records import Grade
from reward.loss import centring_loss, ranking_loss, safety_loss
from reward.margins import MARGINS, margin_of


def test_margins_are_those_of_the_papers_table_27() -> None:
    assert dict(MARGINS["small"]) == {"significantly": 1, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0}
    assert dict(MARGINS["large"]) == {"significantly": 3, "better": 2, "slightly": 1, "negligibly": 0}
    assert set(MARGINS["none"].values()) == {0.0}
    assert margin_of(None, "large") == 0.0


@pytest.mark.parametrize(
    ("grade", "small", "large"),
    [("significantly", 1.0, 3.0), ("better", 2 / 3, 2.0), ("slightly", 1 / 3, 1.0), ("negligibly", 0.0, 0.0)],
)
def test_a_grade_has_its_margin_in_each_table(grade: Grade, small: float, large: float) -> None:
    assert [margin_of(grade, table) for table in ("none", "small", "large")] == [0.0, small, large]


def test_the_ranking_loss_is_minus_log_sigma_of_the_gap_less_the_margin() -> None:
    loss = ranking_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]))
    assert loss.tolist() == pytest.approx([math.log(2), math.log(1 + math.exp(3))], rel=1e-6)


def test_a_larger_margin_makes_the_same_gap_cost_more() -> None:
    costs = [ranking_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([m])).item() for m in (0.0, 1.0, 3.0)]
    assert costs == sorted(costs)
    assert costs[0] < costs[2]


def test_only_the_difference_of_the_scores_matters() -> None:
    chosen, rejected, margin = torch.tensor([1.5]), torch.tensor([-0.5]), torch.tensor([1.0])
    assert ranking_loss(chosen + 7, rejected + 7, margin) == pytest.approx(ranking_loss(chosen, rejected, margin))


def test_shapes_that_would_mix_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have one shape"):
        ranking_loss(torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_scores_stay_finite(size: float) -> None:
    scores = torch.tensor([size], requires_grad=True)
    loss = ranking_loss(scores, torch.zeros(1), torch.zeros(1)) + safety_loss(scores, torch.zeros(1))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_the_centring_term_is_the_squared_sum_of_a_pairs_scores() -> None:
    assert centring_loss(torch.tensor([2.0, -3.0, 1.0]), torch.tensor([1.0, 1.0, -1.0])).tolist() == [9.0, 4.0, 0.0]
    with pytest.raises(ValueError, match=r"must have one shape"):
        centring_loss(torch.zeros(2, 1), torch.zeros(2))


def test_the_safety_term_is_binary_cross_entropy_of_the_score() -> None:
    terms = safety_loss(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 0.0]))
    assert terms.tolist() == pytest.approx([math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))], rel=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen, rejected, margin = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(3))
    assert torch.autograd.gradcheck(
        lambda c, r: ranking_loss(c, r, margin), (chosen.requires_grad_(), rejected.requires_grad_())
    )
    assert torch.autograd.gradcheck(centring_loss, (chosen, rejected))
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: safety_loss(x, labels), (chosen,))
