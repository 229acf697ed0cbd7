"""PPO's options beside the paper's choices, through `train_ppo`: each takes part, and goes on exactly after a stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import rl.ppo
from alignment.batch.tree import ForestBatch, Tree
from alignment.errors import Interrupted
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.text.tokenizer import Tokenizer
from alignment.train.session import Session
from reward.function import FunctionReward
from rl.experience import AnswerTokens
from rl.judges import RewardJudges
from rl.ppo import train_ppo
from rl.roles import Roles
from rl.settings import AdaptiveKlSettings, LengthPenaltySettings
from tests.rl.test_ppo import SETTINGS, both, fresh, metrics

OPTIONS: dict[str, dict[str, Any]] = {
    "running": {"reward_scale": "running"},
    "adaptive": {"adaptive_kl": AdaptiveKlSettings(target=0.1, horizon=20), "kl_coefficient": 1.0},
    "loss": {"kl_in": "loss", "kl_coefficient": 1.0},
    "k3": {"kl_estimator": "k3", "kl_coefficient": 1.0},
    "length": {"length_penalty": LengthPenaltySettings(per_token=1.0, over=2)},
}


def run(
    tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], option: str
) -> dict[str, torch.Tensor]:
    train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS.model_copy(update=OPTIONS[option]), session)
    return load_file(session.folder / "checkpoint" / "model.safetensors")


@pytest.mark.parametrize("option", ["running", "adaptive"])
def test_what_an_option_remembers_is_gone_on_with_to_the_bit(
    option: str, tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    whole = run(tokenizer, judges, session, prompts, option)
    other = dataclasses.replace(session, folder=tmp_path / "interrupted")
    other.stop.request(15)
    with pytest.raises(Interrupted):
        run(tokenizer, judges, other, prompts, option)
    other.stop.signal_number = None
    resumed = run(tokenizer, judges, other, prompts, option)
    assert metrics(session.folder) == metrics(other.folder)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_what_is_learnt(
    option: str, tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    plain = dataclasses.replace(session, folder=tmp_path / "plain")
    changed = {"kl_coefficient": 1.0} if "kl_coefficient" in OPTIONS[option] else {}
    train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS.model_copy(update=changed), plain)
    run(tokenizer, judges, session, prompts, option)
    losses = ([row["policy_gradient_norm"] for row in metrics(one.folder)] for one in (plain, session))
    assert len(set(map(tuple, losses))) == 2


def test_a_coefficient_that_follows_is_logged_and_falls_while_the_policy_stays_close(
    tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    changed = {"adaptive_kl": AdaptiveKlSettings(target=50.0, horizon=80), "value_iterations": 1}
    train_ppo(fresh(tokenizer), judges, both(prompts), SETTINGS.model_copy(update=changed), session)
    start, fall = SETTINGS.kl_coefficient, 1.0 - 0.2 * SETTINGS.batch_size / 80
    assert [row["kl_coefficient"] for row in metrics(session.folder)] == pytest.approx(
        [start, start, start * fall, start * fall**2]  # while the value function learns alone the policy stays
    )


def test_in_the_loss_the_kl_is_logged_and_in_the_reward_it_is_not(
    tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    run(tokenizer, judges, session, prompts, "loss")
    other = dataclasses.replace(session, folder=tmp_path / "reward")
    run(tokenizer, judges, other, prompts, "k3")
    assert all(row["kl_loss"] >= 0.0 for row in metrics(session.folder))
    assert not any("kl_loss" in row for row in metrics(other.folder))


def test_an_iteration_is_told_by_both_estimators_the_ratio_and_the_explained_variance_of_each_campaign(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    settings = SETTINGS.model_copy(update={"iterations": 1, "minibatch_size": 8})
    train_ppo(policy, judges, both(prompts), settings, session)
    (row,) = metrics(session.folder)
    assert (row["kl"], row["kl_k3"]) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert row["ratio_mean"] == pytest.approx(1.0, abs=1e-4)
    told = {"explained_variance", "explained_variance_helpfulness", "explained_variance_safety"}
    assert told | {"entropy", "cut_share", "sampler_gap", "clip_fraction"} <= row.keys()


def test_the_samplers_log_probabilities_give_the_same_update_for_one_pass_less(
    tokenizer: Tokenizer,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_probs, passes = Roles.log_probs, {"trainer": 0, "sampler": 0}
    rows, weights = {}, {}
    for whose in passes:

        def counted(roles: Roles, model: nn.Module, batch: ForestBatch, whose: str = whose) -> torch.Tensor:
            passes[whose] += model is roles.policy.model
            return log_probs(roles, model, batch)

        monkeypatch.setattr(Roles, "log_probs", counted)
        own = dataclasses.replace(session, folder=tmp_path / whose)
        settings = SETTINGS.model_copy(update={"iterations": 1, "value_iterations": 0, "log_probs": whose})
        train_ppo(fresh(tokenizer), judges, both(prompts), settings, own)
        (rows[whose],) = metrics(own.folder)
        weights[whose] = load_file(own.folder / "checkpoint" / "model.safetensors")
    assert passes["sampler"] < passes["trainer"]
    assert 0.0 < rows["sampler"]["sampler_gap"] <= rows["sampler"]["sampler_gap_max"] < 1e-4
    assert rows["sampler"]["kl"] == pytest.approx(rows["trainer"]["kl"], abs=1e-4)
    for name, tensor in weights["trainer"].items():
        torch.testing.assert_close(tensor, weights["sampler"][name], atol=1e-4, rtol=0.0)


def test_of_one_campaign_the_explained_variance_is_told_once(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    settings = SETTINGS.model_copy(update={"iterations": 1})
    train_ppo(policy, judges, both(prompts[:6]), settings, session)  # none is tagged as a safety prompt
    (row,) = metrics(session.folder)
    assert [name for name in row if name.startswith("explained")] == ["explained_variance"]


def test_tokens_go_in_as_they_came_out(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text between sampler and trainer would be cut into other tokens than were sampled."""
    drawn: list[tuple[int, ...]] = []
    trained: list[tuple[int, ...]] = []
    draw, per_token = rl.ppo.draw_samples, Roles.per_token

    def draws(*arguments: Any, **named: Any) -> list[list[Sample]]:
        found = draw(*arguments, **named)
        if named["names"][0] == "ppo":
            drawn.extend(sample.token_ids for (sample,) in found)
        return found

    def looks(roles: Roles, trees: Sequence[Tree], *rest: Any) -> AnswerTokens:
        trained.extend(tuple(tree.segments[1].tolist()) for tree in trees)
        return per_token(roles, trees, *rest)

    monkeypatch.setattr(rl.ppo, "draw_samples", draws)
    monkeypatch.setattr(Roles, "per_token", looks)
    train_ppo(policy, judges, both(prompts), SETTINGS.model_copy(update={"iterations": 1}), session)
    assert len(trained) == SETTINGS.batch_size
    assert trained == drawn


def test_where_reward_and_watch_model_part_the_result_says_so(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    """Both go by the clock: with every evaluation the reward rises and the watch model falls."""
    evaluations = iter(range(1_000))
    asked = iter(range(1_000))
    rising = FunctionReward(lambda dialogues: [float(next(asked))] * len(dialogues))
    falling = FunctionReward(
        lambda dialogues: [-at + 0.01 * i for at in [next(evaluations)] for i in range(len(dialogues))]
    )
    watched = RewardJudges(helpfulness=rising, watch=falling, compute=judges.compute)
    found = train_ppo(policy, watched, both(prompts), SETTINGS, session).as_json()
    assert (found["parted"]["iteration"], found["parted"]["best"]) == (1, 0)
    assert found["held_out"][1]["watch_error"] == pytest.approx(0.0, abs=1e-9)  # every prompt fell alike
    assert "watch_error" not in found["held_out"][0]


def test_the_best_ones_watch_scores_are_gone_on_with_after_a_stop(
    tokenizer: Tokenizer, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    by_length = FunctionReward(lambda dialogues: [float(len(one.turns[-1].content)) for one in dialogues])
    watched = dataclasses.replace(judges, watch=by_length)
    whole = train_ppo(fresh(tokenizer), watched, both(prompts), SETTINGS, session)
    other = dataclasses.replace(session, folder=tmp_path / "interrupted")
    other.stop.request(15)
    with pytest.raises(Interrupted):
        train_ppo(fresh(tokenizer), watched, both(prompts), SETTINGS, other)
    other.stop.signal_number = None
    resumed = train_ppo(fresh(tokenizer), watched, both(prompts), SETTINGS, other)
    assert resumed.as_json() == whole.as_json()
    assert all(entry.watch_error is not None for entry in whole.course[1:])
