"""PPO's value function: a reward model's body under a head that starts at 0, one value a target."""

from __future__ import annotations

import torch

from alignment.batch.tree import Tree, make_batch
from rl.judges import RewardJudges
from rl.value import ValueModel, answers_as_rows


def test_runs_become_zero_padded_rows_with_a_mask() -> None:
    flat = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    rows, mask = answers_as_rows(flat, [1, 3])
    assert rows.tolist() == [[1.0, 0.0, 0.0], [2.0, 3.0, 4.0]]
    assert mask.tolist() == [[True, False, False], [True, True, True]]
    (rows * torch.tensor([[1.0, 9.0, 9.0], [2.0, 3.0, 4.0]])).sum().backward()
    assert flat.grad is not None
    assert flat.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_no_answers_make_no_rows() -> None:
    rows, mask = answers_as_rows(torch.zeros(0), [])
    assert rows.shape == mask.shape == (0, 0)


def test_every_state_is_worth_nothing_at_the_start(judges: RewardJudges) -> None:
    batch = make_batch([Tree.sequence([1, 5, 6, 7], [False, False, True, True])])
    assert ValueModel(judges.helpfulness)(batch).tolist() == [0.0, 0.0]


def test_a_value_is_the_heads_figure_of_the_state_before_each_target(judges: RewardJudges) -> None:
    tokens = [1, 5, 6, 7, 8, 9]
    batch = make_batch([Tree.sequence(tokens, [False, False, False, True, True, True])])
    value = ValueModel(judges.helpfulness)
    value.scorer.score.load_state_dict(judges.helpfulness.model.score.state_dict())
    ends = [judges.helpfulness.model(torch.tensor([tokens[:n]])).logits[0, 0] for n in (3, 4, 5)]
    torch.testing.assert_close(value(batch), torch.stack(ends), rtol=1e-5, atol=1e-6)


def test_the_value_function_learns_and_its_reward_model_stays(judges: RewardJudges) -> None:
    batch = make_batch([Tree.sequence([1, 5, 6, 7], [False, False, True, True])])
    before = judges.helpfulness.model.score.weight.clone()
    value = ValueModel(judges.helpfulness)
    (value(batch) - 1.0).square().sum().backward()
    assert value.scorer.score.weight.grad is not None
    assert float(value.scorer.score.weight.grad.abs().sum()) > 0
    assert judges.helpfulness.model.score.weight.grad is None
    assert torch.equal(judges.helpfulness.model.score.weight, before)
