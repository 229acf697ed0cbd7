"""Distillation: the same call with two policies; the samples of one train the other."""

from __future__ import annotations

import pytest
import torch

from alignment.errors import TokenizerError
from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy, load_policy
from alignment.records import Dialogue
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import train_tokenizer
from alignment.train.session import Session
from rl.judges import RewardJudges
from rl.rejection import rejection_sample
from rl.settings import RejectionSettings
from tests.rl.test_rejection import SAMPLING, CannedSamples

SETTINGS = RejectionSettings(samples_per_prompt=2, sampling=SAMPLING, context_length=128, batch_size=4, max_steps=2)
SMALLER = ModelSettings(size="custom", width=16, layers=1, heads=1, kv_heads=1, context_length=256)


def weights(policy: Policy) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in policy.model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_smaller_model_is_trained_on_what_is_kept_of_a_larger_ones_answers(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rl.rejection

    asked: list[Policy] = []

    def draw(who: Policy, fitting: list[object], **_: object) -> list[object]:
        asked.append(who)
        return [CannedSamples.of(who) for _ in fitting]

    monkeypatch.setattr(rl.rejection, "draw_samples", draw)
    smaller = Policy.fresh(SMALLER, policy.tokenizer)
    before, untrained = weights(policy), weights(smaller)
    result = rejection_sample(policy, prompts, judges, SETTINGS, session, start=smaller)
    assert asked == [policy]
    assert result.training.counts["dialogues"] == len(prompts)
    assert same(weights(policy), before)
    assert not same(weights(smaller), untrained)
    saved = load_policy(session.folder / "checkpoint")
    assert saved.model.config.hidden_size == 16


def test_a_model_with_another_tokenizer_cannot_learn_from_the_larger_ones_tokens(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session
) -> None:
    other = train_tokenizer(["the mill grinds flour"] * 9, TokenizerSettings(vocab_size=300))
    with pytest.raises(TokenizerError, match=r"the model that is tuned has the tokenizer .* \(300 pieces\)"):
        rejection_sample(policy, prompts, judges, SETTINGS, session, start=Policy.fresh(SMALLER, other))
