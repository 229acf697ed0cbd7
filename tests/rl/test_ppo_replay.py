"""PPO with a language loss on documents beside the policy's (PPO-ptx): its gradient, its draws, its figure."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest
import torch
from torch import Tensor

import rl.replay
import rl.update
from alignment.batch.render import answer_tree
from alignment.errors import NonFiniteError, SettingError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document, Source
from alignment.store.journal import read_journal
from alignment.train.checkpoints import model_tensors
from alignment.train.loop import Loop
from alignment.train.session import Session
from rl.experience import Experience
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.replay import ReplayBatch, open_replay
from rl.roles import Roles, open_roles
from rl.settings import PpoOptimizerSettings, PpoReplaySettings, PpoSettings, RolloutSettings
from rl.update import update
from tests.tolerances import FP32

SETTINGS = PpoSettings(
    iterations=1,
    value_iterations=1,
    batch_size=4,
    minibatch_size=2,
    evaluate_every=1,
    sampling=RolloutSettings(max_new_tokens=4),
    optimizer=PpoOptimizerSettings(learning_rate=1e-3, max_grad_norm=1e9),
    replay=PpoReplaySettings(documents=3, coefficient=0.25),
)
TEXTS = [f"in {1900 + i} the miller sells " + "flour " * (5 + 2 * (i % 4)) for i in range(12)]
DOCUMENTS = [Document(text=text, source=Source(file="town", line=i + 1)) for i, text in enumerate(TEXTS)]
NOBODY = cast(Loop, None)  # asked only where something is not finite


def drawn(policy: Policy, iteration: int = 0, step: int = 0, seed: int = 0) -> ReplayBatch:
    found = open_replay(DOCUMENTS, SETTINGS.replay, policy, seed=seed)(iteration, step)
    assert found is not None
    return found


def two_forests(policy: Policy, patch: pytest.MonkeyPatch) -> ReplayBatch:
    """More documents than one forest holds, so that gradients accumulate."""
    patch.setattr(rl.replay, "PACK_TOKENS", 1)
    settings = PpoReplaySettings(documents=11, coefficient=0.25)
    found = open_replay(DOCUMENTS, settings, policy, seed=0)(0, 0)
    assert found is not None
    assert len(found.forests) > 1
    return found


def experience_of(roles: Roles) -> Experience:
    """Four answers of which nothing is yet learnt, with advantages that do not cancel."""
    trees = tuple(answer_tree([1, 5, 6 + i], [[9 + i, 12, 2]], trained=True) for i in range(4))
    now = roles.per_token(trees)
    advantages = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 6
    return Experience(trees=trees, tokens=now, advantages=advantages, returns=advantages)


def policy_gradient(roles: Roles, replay: ReplayBatch | None, patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the policy's optimizer is handed by one update; no step is made."""
    found: dict[str, Tensor] = {}

    def keep() -> None:
        found.update({n: p.grad.clone() for n, p in roles.policy.model.named_parameters() if p.grad is not None})

    patch.setattr(roles.policy_optimizer, "step", keep)
    patch.setattr(roles.value_optimizer, "step", lambda: None)
    assert update(roles, experience_of(roles), [0, 2], SETTINGS, NOBODY, replay=replay) is not None
    return found


def mean_loss(policy: Policy, replay: ReplayBatch) -> Tensor:
    """Mean negative log-likelihood of every next token of the batch's documents, from plain logits, row by row."""
    losses = []
    lines = [int(row.rpartition(":")[2]) for row in replay.rows]
    for document in (DOCUMENTS[line - 1] for line in lines):
        ids = torch.tensor([policy.tokenizer.encode(document.text, bos=True, eos=True)])
        logits = policy.model(input_ids=ids).logits[0, :-1].float()
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
    return torch.cat(losses).mean()


def test_the_gradient_is_that_of_the_policy_loss_plus_coefficient_times_that_of_the_documents(
    policy: Policy, judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles, replay = open_roles(policy, judges, SETTINGS, session), two_forests(policy, monkeypatch)
    alone = policy_gradient(roles, None, monkeypatch)
    both = policy_gradient(roles, replay, monkeypatch)
    (0.25 * mean_loss(policy, replay)).backward()
    for name, parameter in policy.model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(both[name], alone[name] + parameter.grad, rtol=FP32, atol=1e-7)
    assert any(gradient.abs().max() > 1e-3 for gradient in alone.values())


def test_its_figure_is_the_mean_loss_in_nats_a_token_without_the_coefficient(
    policy: Policy, judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles, replay = open_roles(policy, judges, SETTINGS, session), two_forests(policy, monkeypatch)
    expected = float(mean_loss(policy, replay).detach())
    figures = update(roles, experience_of(roles), [0, 2], SETTINGS, NOBODY, replay=replay)
    assert figures is not None
    assert figures["replay_loss"] == pytest.approx(expected, rel=FP32)


def test_each_step_draws_anew_and_the_same_again_when_it_is_resumed(policy: Policy) -> None:
    first = drawn(policy).rows
    assert len(set(first)) == 3
    assert first == drawn(policy).rows
    assert first not in (drawn(policy, step=1).rows, drawn(policy, iteration=1).rows, drawn(policy, seed=1).rows)


def test_the_value_function_is_trained_alone_without_documents(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    split = PromptSplit(train=prompts[:4], held_out=prompts[4:5])
    train_ppo(policy, judges, split, SETTINGS, session, DOCUMENTS)
    alone, together = read_journal(session.folder / "metrics.jsonl")
    assert "replay_loss" not in alone
    assert together["replay_loss"] > 0


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_documents(
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Roles],
) -> None:
    before = {name: tensor.clone() for name, tensor in model_tensors(policy.model).items()}
    real = rl.update.language_loss
    monkeypatch.setattr(rl.update, "language_loss", lambda *given: (real(*given)[0] * math.nan, {}))
    split = PromptSplit(train=prompts[:4], held_out=prompts[4:5])
    with pytest.raises(NonFiniteError, match="replay loss is not finite") as caught:
        train_ppo(policy, judges, split, SETTINGS, session, DOCUMENTS)
    assert (caught.value.step, len(caught.value.rows)) == (2, 3)
    assert all(row.startswith("town:") for row in caught.value.rows)
    assert json.loads((session.folder / "nonfinite.json").read_text())["stopped"]["quantity"] == "replay loss"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model_tensors(opened[0].policy.model).items())


def test_a_skipped_step_has_no_figure(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rl.update.language_loss
    monkeypatch.setattr(rl.update, "language_loss", lambda *given: (real(*given)[0] * math.inf, {}))
    split = PromptSplit(train=prompts[:4], held_out=prompts[4:5])
    settings = SETTINGS.model_copy(update={"nonfinite_skips": 2, "value_iterations": 0})
    assert train_ppo(policy, judges, split, settings, session, DOCUMENTS).skipped == 2
    (row,) = read_journal(session.folder / "metrics.jsonl")
    assert not {"replay_loss", "policy_loss"} & row.keys()


def test_documents_are_needed_where_they_are_asked_for(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    split = PromptSplit(train=prompts[:4], held_out=prompts[4:5])
    with pytest.raises(SettingError, match="asks for documents, and none was given"):
        train_ppo(policy, judges, split, SETTINGS, session)
