"""The reward before the KL: standardised over the batch or over all so far, less what is penalised."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError

from alignment.generate.sampler import Sample
from alignment.records import Dialogue
from rl.objective import whiten
from rl.rollout import Rollout
from rl.scale import RewardScale, penalties
from rl.settings import LengthPenaltySettings, PpoSettings, RolloutSettings

BATCHES = [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([-3.0, 0.0, 9.0, 2.0]), torch.tensor([100.0, 101.0])]


def rollout(tokens: int, finish: str = "stop") -> Rollout:
    sample = Sample(token_ids=(5,) * tokens, log_probs=(0.0,) * tokens, finish_reason=finish)  # type: ignore[arg-type]
    return Rollout(
        prompt=Dialogue.of("a"),
        prompt_ids=(1,),
        samples=(sample,),
        texts=("",),
        helpfulness=(0.0,),
        safety=None,
        combined=(0.0,),
    )


def test_over_the_batch_it_is_whitening() -> None:
    scale = RewardScale("batch")
    assert all(torch.equal(scale(batch), whiten(batch)) for batch in BATCHES)


def test_running_it_is_by_the_mean_and_variance_of_all_rewards_so_far() -> None:
    scale = RewardScale("running")
    for seen in range(1, len(BATCHES) + 1):
        found, whole = scale(BATCHES[seen - 1]), torch.cat(BATCHES[:seen]).double()
        wanted = (BATCHES[seen - 1].double() - whole.mean()) / whole.std(correction=0)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


def test_the_first_batch_is_scaled_alike_by_both() -> None:
    torch.testing.assert_close(RewardScale("running")(BATCHES[0]), whiten(BATCHES[0]))


def test_equal_rewards_become_0() -> None:
    assert RewardScale("running")(torch.full((4,), 7.0)).tolist() == [0.0] * 4


def test_put_back_from_a_checkpoint_it_goes_on_to_the_bit() -> None:
    scale, other = RewardScale("running"), RewardScale("running")
    for batch in BATCHES[:2]:
        scale(batch)
    other.load({}, json.loads(json.dumps(scale.values())))
    assert torch.equal(other(BATCHES[2]), scale(BATCHES[2]))
    assert other.values() == scale.values()


def test_over_the_batch_a_checkpoint_holds_nothing_of_it() -> None:
    assert RewardScale("batch").values() == {}


def test_tokens_beyond_a_length_and_a_missing_end_are_taken_from_the_reward() -> None:
    settings = PpoSettings(missing_eos_penalty=2.0, length_penalty=LengthPenaltySettings(per_token=0.5, over=3))
    found = penalties([rollout(2), rollout(3), rollout(5), rollout(7, "length")], settings)
    assert found.tolist() == [0.0, 0.0, 1.0, 2.0 + 2.0]
    assert penalties([rollout(2), rollout(9)], PpoSettings()).tolist() == [0.0, 0.0]


def test_a_length_that_no_answer_reaches_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"length_penalty.over 8 is never reached.*max_new_tokens, 8"):
        PpoSettings(length_penalty=LengthPenaltySettings(over=8), sampling=RolloutSettings(max_new_tokens=8))
