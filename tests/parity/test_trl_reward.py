"""The reward models' loss against TRL's own `RewardTrainer.compute_loss`, on the same weights and the same pairs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from transformers import LlamaForSequenceClassification
from trl import RewardTrainer

from alignment.policy.policy import Policy
from alignment.records import Dialogue, Preference, Source, Turn
from reward.margins import Margin
from reward.model import RewardModel
from reward.preferences import PairExample, make_pair_batch, prepare_pairs
from reward.train import pair_loss

pytestmark = pytest.mark.slow  # importing TRL takes five seconds

GRADES = ("significantly", "better", "slightly", "negligibly", None)


def pairs_of(model: RewardModel, margin: Margin) -> list[PairExample]:
    """Pairs of every grade, of different lengths."""
    records = []
    for i, grade in enumerate(GRADES):
        source = Source(file="made", line=i + 1)
        asked = Turn(role="user", content="who sells " + "bread " * (i + 1))
        prompt = Dialogue(turns=(asked,), source=source, id=f"{i}")
        chosen, rejected = "the baker " * (i + 1) + "sells it.", "the miller" + " or nobody" * (4 - i)
        records.append(Preference(prompt=prompt, chosen=chosen, rejected=rejected, grade=grade, source=source))
    examples = prepare_pairs(records, model.tokenizer, margin=margin, context_length=256).examples
    return [cast(PairExample, example) for example in examples]


def trl_loss(model: RewardModel, pairs: list[PairExample], centring: float | None) -> tuple[float, torch.Tensor]:
    """TRL's mean loss and the gradient of the head, from rows padded on the right, the chosen answers first."""
    theirs = LlamaForSequenceClassification(model.model.config).double()
    theirs.load_state_dict(model.model.state_dict())
    theirs.config.pad_token_id = 0
    rows = [[*p.tree.segments[0], *p.tree.segments[answer]] for answer in (1, 2) for p in pairs]
    width = max(map(len, rows))
    inputs = {
        "input_ids": torch.tensor([[*row, *[0] * (width - len(row))] for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "margin": torch.tensor([pair.margin for pair in pairs], dtype=torch.float64),
    }

    def same(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    class Rows(torch.nn.Module):
        """Takes the margin away, as TRL's collator's signature does."""

        def forward(self, margin: torch.Tensor, **given: torch.Tensor) -> object:
            return theirs(**given)

    trainer = SimpleNamespace(
        model=Rows(),
        args=SimpleNamespace(center_rewards_coefficient=centring),
        accelerator=SimpleNamespace(gather=same, gather_for_metrics=same),
        _metrics={"train": {name: [] for name in ("min_reward", "mean_reward", "max_reward", "accuracy", "margin")}},
        _total_train_tokens=0,
        _tp_size=1,
    )
    loss = RewardTrainer.compute_loss(trainer, trainer.model, inputs)
    return loss.item(), torch.autograd.grad(loss, theirs.score.weight)[0]


@pytest.mark.parametrize("margin", ["none", "small", "large", {"significantly": 5.0, "slightly": 0.25}])
@pytest.mark.parametrize("centring", [0.0, 0.01])
def test_loss_and_gradient_are_those_of_trls_reward_trainer(policy: Policy, margin: Margin, centring: float) -> None:
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    model.model.double()
    torch.nn.init.normal_(model.model.score.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    pairs = pairs_of(model, margin)
    total, _ = pair_loss(model.model, make_pair_batch(pairs), safety_weight=0.0, centring=centring)
    loss = total / len(pairs)
    (slope,) = torch.autograd.grad(loss, model.model.score.weight)
    theirs, their_slope = trl_loss(model, pairs, centring or None)
    assert loss.item() == pytest.approx(theirs, rel=1e-6)
    torch.testing.assert_close(slope, their_slope, rtol=1e-6, atol=1e-6)  # its RoPE is in fp32
