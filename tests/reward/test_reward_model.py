"""The reward model: shared prompts change nothing, checkpoints keep the head, preferences are learnt."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from alignment.batch.tree import make_batch
from alignment.data.settings import DataSettings, SourceSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue, LabelledAnswer, Preference, Source, Turn
from alignment.train.compute import resolve_compute
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings, OptimizerSettings
from reward.evaluate import evaluate_reward
from reward.loss import ranking_loss
from reward.model import RewardModel, segment_scores
from reward.preferences import pair_set
from reward.settings import RewardSettings
from reward.train import PairLoss, train_reward
from tests.tolerances import FP32_SAME_CODE

COMPUTE = resolve_compute(ComputeSettings(precision="fp32", threads=1))
DATA = DataSettings(train=(SourceSettings(path="unused.jsonl"),))


def prompt(i: int) -> Dialogue:
    source = Source(file="made", line=i + 1)
    return Dialogue(turns=(Turn(role="user", content=f"who sells the bread in {i}?"),), source=source, id=f"p{i}")


def preferences(count: int) -> list[Preference]:
    """The chosen answer names the baker: easy to learn."""
    grades = ("significantly", "better", "slightly", "negligibly")
    return [
        Preference(
            prompt=prompt(i),
            chosen="the baker sells the bread.",
            rejected="the miller.",
            grade=grades[i % 4],
            source=Source(file="made", line=i + 1),
        )
        for i in range(count)
    ]


@pytest.fixture
def reward_model(policy: Policy) -> RewardModel:
    return RewardModel.from_policy(policy, seed=0, name="helpfulness")


def test_answers_that_share_a_prompt_score_as_they_do_alone(reward_model: RewardModel) -> None:
    prompts = [[1, 5, 6, 7], [1, 9, 9]]
    answers = [[[10, 11, 2], [12, 2], [13, 14, 15, 2]], [[20, 2], [21, 22, 2]]]
    together = reward_model.score_ids(prompts, answers, COMPUTE)
    for p, options, scores in zip(prompts, answers, together, strict=True):
        for option, score in zip(options, scores, strict=True):
            alone = reward_model.model(torch.tensor([p + option])).logits[0, -1, 0].item()
            assert score == pytest.approx(alone, abs=FP32_SAME_CODE)


def test_the_pair_loss_on_a_forest_equals_the_pairs_run_one_by_one(reward_model: RewardModel) -> None:
    pairs = pair_set(preferences(4), reward_model.tokenizer, margin="large", context_length=256)
    loss, figures = PairLoss(0.0)(reward_model.model, make_batch(pairs.trees))
    expected, right = 0.0, 0
    for tree in pairs.trees:
        ids = [[*tree.segments[0].tolist(), *segment.tolist()] for segment in tree.segments[1:]]
        chosen, rejected = (reward_model.model(torch.tensor([row])).logits[0, -1, 0] for row in ids)
        expected += ranking_loss(chosen[None], rejected[None], torch.tensor([tree.labels[0]])).item()
        right += int(chosen > rejected)
    assert loss.item() == pytest.approx(expected, rel=FP32_SAME_CODE)
    assert figures["accuracy"].item() == right
    assert right != len(pairs.trees) - right


def test_the_safety_term_counts_labelled_answers_only(reward_model: RewardModel) -> None:
    source = Source(file="made", line=1)
    records = [
        LabelledAnswer(prompt=prompt(0), answer="the miller.", safe=False, source=source),
        Preference(prompt=prompt(1), chosen="a", rejected="b", chosen_safe=True, source=source),
        Preference(prompt=prompt(2), chosen="c", rejected="d", chosen_safe=True, rejected_safe=False, source=source),
    ]
    batch = make_batch(pair_set(records, reward_model.tokenizer, margin="none", context_length=256).trees)
    torch.nn.init.normal_(reward_model.model.score.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    scores = segment_scores(reward_model.model, batch)
    plain, _ = PairLoss(0.0)(reward_model.model, batch)
    weighted, _ = PairLoss(2.0)(reward_model.model, batch)
    unsafe, safe = scores[1], scores[3]  # the single answer; the pair's chosen one
    log_sigma = torch.nn.functional.logsigmoid
    both = -log_sigma(scores[6]) - log_sigma(-scores[7])  # the other pair's answers count half each
    term = -log_sigma(-unsafe) - log_sigma(safe) + both / 2
    assert (weighted - plain).item() == pytest.approx(2.0 * term.item(), rel=1e-4)


def test_a_saved_model_scores_the_same_and_loads_in_transformers(reward_model: RewardModel, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    reward_model.save(tmp_path / "checkpoint", meta={})
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    score = reward_model.model(ids).logits[0, -1, 0].item()
    again = RewardModel.load(tmp_path / "checkpoint")
    assert again.model(ids).logits[0, -1, 0].item() == score
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint")
    theirs.config.pad_token_id = 0
    assert theirs(ids).logits[0, 0].item() == pytest.approx(score, abs=1e-5)


def test_the_new_head_depends_on_its_name_and_not_on_what_was_drawn_before(policy: Policy) -> None:
    first = RewardModel.from_policy(policy, seed=0, name="safety").model.score.weight
    torch.rand(5)
    second = RewardModel.from_policy(policy, seed=0, name="safety").model.score.weight
    other = RewardModel.from_policy(policy, seed=0, name="helpfulness").model.score.weight
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_pairs_over_the_context_are_left_out_and_counted(reward_model: RewardModel) -> None:
    pairs = pair_set(preferences(3), reward_model.tokenizer, margin="large", context_length=8)
    assert (pairs.trees, pairs.too_long) == ([], 3)


def test_accuracy_counts_a_tie_half_and_is_given_by_grade(
    reward_model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pair_set(preferences(4), reward_model.tokenizer, margin="large", context_length=256)
    scores = [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [3.0, 1.0]]
    monkeypatch.setattr(RewardModel, "score_ids", lambda *_, **__: scores)
    accuracy = evaluate_reward(reward_model, pairs, COMPUTE)["accuracy"]
    assert accuracy["all"]["value"] == pytest.approx(2.5 / 4)
    assert [accuracy[f"grade:{g}"]["value"] for g in ("significantly", "better", "slightly", "negligibly")] == [
        1.0,
        0.0,
        0.5,
        1.0,
    ]


def test_a_learnable_preference_is_learnt(policy: Policy, session: Session) -> None:
    settings = RewardSettings(
        data=DATA,
        context_length=256,
        batch_size=8,
        epochs=3,
        optimizer=OptimizerSettings(learning_rate=3e-3),
    )
    result = train_reward(policy, preferences(32), settings, session, held_out=preferences(12), name="helpfulness")
    assert result["evaluation"]["accuracy"]["all"]["value"] > 0.9
    assert math.isfinite(result["loss"])
    assert (session.folder / "checkpoint" / "manifest.json").exists()
