"""PPO on a tiny policy: the first ratio is one, resuming changes nothing, the best model is the result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import rl.roles
from alignment.errors import Interrupted, NonFiniteError
from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.text.tokenizer import Tokenizer
from alignment.train.checkpoints import model_tensors
from alignment.train.session import Session
from reward.model import RewardModel
from rl.best import Best
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.result import HeldOut
from rl.roles import Roles
from rl.settings import PpoOptimizerSettings, PpoSettings, RolloutSettings
from rl.value import ValueModel

SETTINGS = PpoSettings(
    iterations=3,
    value_iterations=0,
    batch_size=8,
    minibatch_size=4,
    evaluate_every=1,
    save_every=1,
    sampling=RolloutSettings(max_new_tokens=6),
    optimizer=PpoOptimizerSettings(learning_rate=1e-3),
)


def fresh(tokenizer: Tokenizer) -> Policy:
    model = new_model(ModelSettings(size="tiny", context_length=256), tokenizer.vocab_size, seed=0)
    return Policy(model=model, tokenizer=tokenizer)


def both(prompts: list[Dialogue]) -> PromptSplit:
    return PromptSplit(train=prompts, held_out=prompts)


def metrics(folder: Path) -> list[dict[str, float]]:
    from alignment.store.journal import read_journal

    return [
        {k: v for k, v in row.items() if not k.startswith("time_")} for row in read_journal(folder / "metrics.jsonl")
    ]


def test_the_first_update_starts_from_ratio_one_and_no_kl(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    settings = SETTINGS.model_copy(update={"iterations": 1, "minibatch_size": 8})
    train_ppo(policy, judges, both(prompts), settings, session)
    row = metrics(session.folder)[0]
    assert row["ratio_max"] == pytest.approx(1.0, abs=1e-4)
    assert row["kl"] == pytest.approx(0.0, abs=1e-4)
    assert row["clip_fraction"] == 0.0


def test_an_update_changes_policy_and_value_but_never_the_reference(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], opened: list[Roles]
) -> None:
    start = {k: v.clone() for k, v in model_tensors(policy.model).items()}
    value = {k: v.clone() for k, v in model_tensors(ValueModel(judges.helpfulness)).items()}
    result = train_ppo(policy, judges, both(prompts), SETTINGS, session)
    assert all(torch.equal(v, start[k]) for k, v in model_tensors(opened[0].reference).items())
    assert any(not torch.equal(v, value[k]) for k, v in model_tensors(opened[0].value).items())
    assert [entry.iteration for entry in result.course] == list(range(SETTINGS.iterations + 1))


def test_the_result_is_the_model_with_the_best_held_out_reward(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[dict[str, Tensor]] = []
    real = Best.offer

    def offer(best: Best, figures: HeldOut) -> None:
        after.append({k: v.clone() for k, v in model_tensors(best.model).items()})
        real(best, figures)

    monkeypatch.setattr(Best, "offer", offer)
    result = train_ppo(policy, judges, both(prompts), SETTINGS, session)
    assert result.best.reward == max(entry.reward for entry in result.course)
    saved = load_file(session.folder / "checkpoint" / "model.safetensors")
    best, *others = (after.pop(result.best.iteration), *after)
    assert all(torch.equal(saved[name], tensor) for name, tensor in best.items())
    assert all(any(not torch.equal(saved[name], tensor) for name, tensor in other.items()) for other in others)


def test_training_stops_when_patience_runs_out(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    settings = SETTINGS.model_copy(
        update={
            "iterations": 9,
            "patience": 1,
            "optimizer": PpoOptimizerSettings(learning_rate=1e-12),
        }
    )
    result = train_ppo(policy, judges, both(prompts), settings, session)
    assert result.iterations == 1  # nothing moves, so the first evaluation brings nothing better
    assert result.best.iteration == 0


@pytest.mark.slow
def test_interrupted_after_each_iteration_it_ends_as_if_undisturbed(
    tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS, session)
    other = dataclasses.replace(session, folder=tmp_path / "interrupted")
    for _ in range(SETTINGS.iterations - 1):
        other.stop.request(15)
        with pytest.raises(Interrupted):
            train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS, other)
        other.stop.signal_number = None
        other.stop.request(15)
    other.stop.signal_number = None
    train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS, other)
    whole, resumed = (load_file(s.folder / "checkpoint" / "model.safetensors") for s in (session, other))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert metrics(session.folder) == metrics(other.folder)


def test_a_reward_that_is_not_finite_stops_before_the_update(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = {k: v.clone() for k, v in model_tensors(policy.model).items()}
    monkeypatch.setattr(
        RewardModel, "score_ids", lambda self, prompts, answers, *_, **__: [[float("nan")]] * len(prompts)
    )
    with pytest.raises(NonFiniteError, match=r"reward is not finite.*made:1"):
        train_ppo(policy, judges, both(prompts), SETTINGS, session)
    assert all(torch.equal(v, start[k]) for k, v in model_tensors(policy.model).items())


def test_a_mini_batch_must_divide_the_batch() -> None:
    with pytest.raises(ValueError, match=r"minibatch_size 3 does not divide batch_size 8"):
        PpoSettings(batch_size=8, minibatch_size=3)


@pytest.mark.parametrize(("key", "value"), [("temperature", 0.0), ("top_p", 0.9), ("top_k", 40)])
def test_answers_are_drawn_from_the_whole_distribution_or_not_at_all(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"must be .* for PPO"):
        PpoSettings.model_validate({"sampling": {key: value}})


def test_the_value_function_is_trained_alone_before_the_policy_is(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], opened: list[Roles]
) -> None:
    start = {k: v.clone() for k, v in model_tensors(policy.model).items()}
    value = {k: v.clone() for k, v in model_tensors(ValueModel(judges.helpfulness)).items()}
    settings = SETTINGS.model_copy(update={"value_iterations": 2, "iterations": 1})
    result = train_ppo(policy, judges, both(prompts), settings, session)
    rows = metrics(session.folder)
    assert [row["step"] for row in rows if "policy_loss" in row] == [3]
    assert all("value_loss" in row for row in rows)
    assert [entry.iteration for entry in result.course] == [0, 3]  # a policy that has not moved is measured once
    assert any(not torch.equal(v, start[k]) for k, v in model_tensors(opened[0].policy.model).items()) or (
        result.best.iteration == 0
    )
    assert any(not torch.equal(v, value[k]) for k, v in model_tensors(opened[0].value).items())


def test_while_it_is_trained_alone_the_policy_stays_as_it_is(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    start = {k: v.clone() for k, v in model_tensors(policy.model).items()}
    session.stop.request(15)  # after the first iteration
    with pytest.raises(Interrupted):
        train_ppo(policy, judges, both(prompts), SETTINGS.model_copy(update={"value_iterations": 2}), session)
    assert all(torch.equal(v, start[k]) for k, v in model_tensors(policy.model).items())


def test_the_samplers_log_probabilities_are_the_trainers_and_their_gap_is_told(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    train_ppo(policy, judges, both(prompts), SETTINGS, session)
    for row in metrics(session.folder):
        assert 0.0 <= row["sampler_gap"] <= row["sampler_gap_max"] < 1e-4
        assert row["entropy"] > 0.0


def test_compiling_is_asked_for_policy_and_value_function(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(rl.roles, "compile_layers", compiled.append)
    settings = SETTINGS.model_copy(update={"iterations": 1})
    asked = dataclasses.replace(session, compute=session.compute.model_copy(update={"compile": True}))
    train_ppo(policy, judges, both(prompts), settings, asked)
    assert [type(model).__name__ for model in compiled] == ["LlamaPolicy", "LlamaReward"]
    assert compiled[0] is policy.model
