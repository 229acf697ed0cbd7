"""The reward model: shared prompts change nothing, checkpoints keep the head, preferences are learnt."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from alignment.policy.policy import Policy
from alignment.records import Dialogue, LabelledAnswer, Preference, Source, Turn
from alignment.train.compute import resolve_compute
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings
from reward.evaluate import evaluate_reward
from reward.loss import ranking_loss
from reward.model import RewardModel, segment_scores
from reward.preferences import PairExample, make_pair_batch, prepare_pairs
from reward.settings import RewardOptimizerSettings, RewardSettings
from reward.train import pair_loss, train_reward
from tests.tolerances import FP32_SAME_CODE

COMPUTE = resolve_compute(ComputeSettings(precision="fp32", threads=1))


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


def test_the_head_is_computed_in_fp32_where_the_body_is_in_bf16(reward_model: RewardModel) -> None:
    prompts, answers = [[1, 5, 6, 7]], [[[token, 2] for token in range(10, 40)]]
    half = resolve_compute(ComputeSettings(precision="bf16", threads=1))
    (scores,) = reward_model.score_ids(prompts, answers, half)
    rounded = torch.tensor(scores).bfloat16().float().tolist()
    assert sum(score == short for score, short in zip(scores, rounded, strict=True)) < 3  # bf16 would round all
    assert len(set(scores)) == len(scores)


def test_answers_that_share_a_prompt_score_as_they_do_alone(reward_model: RewardModel) -> None:
    prompts = [[1, 5, 6, 7], [1, 9, 9]]
    answers = [[[10, 11, 2], [12, 2], [13, 14, 15, 2]], [[20, 2], [21, 22, 2]]]
    together = reward_model.score_ids(prompts, answers, COMPUTE)
    for p, options, scores in zip(prompts, answers, together, strict=True):
        for option, score in zip(options, scores, strict=True):
            alone = reward_model.model(torch.tensor([p + option])).logits[0, 0].item()
            assert score == pytest.approx(alone, abs=FP32_SAME_CODE)


def test_the_pair_loss_on_a_forest_equals_the_pairs_run_one_by_one(reward_model: RewardModel) -> None:
    pairs = prepare_pairs(preferences(4), reward_model.tokenizer, margin="large", context_length=256)
    loss, figures = pair_loss(reward_model.model, make_pair_batch(pairs.examples), safety_weight=0.0)
    expected, right = 0.0, 0
    for example in pairs.examples:
        assert isinstance(example, PairExample)
        prompt, *answers = (segment.tolist() for segment in example.tree.segments)
        ids = [[*prompt, *answer] for answer in answers]
        chosen, rejected = (reward_model.model(torch.tensor([row])).logits[0, 0] for row in ids)
        expected += ranking_loss(chosen[None], rejected[None], torch.tensor([example.margin])).item()
        right += int(chosen > rejected)
    assert loss.item() == pytest.approx(expected, rel=FP32_SAME_CODE)
    assert figures["accuracy"].item() == right
    assert right != len(pairs.examples) - right


def test_the_safety_term_counts_labelled_answers_only(reward_model: RewardModel) -> None:
    source = Source(file="made", line=1)
    records = [
        LabelledAnswer(prompt=prompt(0), answer="the miller.", safe=False, source=source),
        Preference(prompt=prompt(1), chosen="a", rejected="b", chosen_safe=True, source=source),
        Preference(prompt=prompt(2), chosen="c", rejected="d", chosen_safe=True, rejected_safe=False, source=source),
    ]
    pairs = prepare_pairs(records, reward_model.tokenizer, margin="none", context_length=256)
    batch = make_pair_batch(pairs.examples)
    torch.nn.init.normal_(reward_model.model.score.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    scores = segment_scores(reward_model.model, batch.forest)
    plain, _ = pair_loss(reward_model.model, batch, safety_weight=0.0)
    weighted, figures = pair_loss(reward_model.model, batch, safety_weight=2.0)
    unsafe, safe = scores[1], scores[3]  # the single answer; the pair's chosen one
    log_sigma = torch.nn.functional.logsigmoid
    both = -log_sigma(scores[6]) - log_sigma(-scores[7])  # the other pair's answers count half each
    term = -log_sigma(-unsafe) - log_sigma(safe) + both / 2
    assert (weighted - plain).item() == pytest.approx(2.0 * term.item(), rel=1e-4)
    assert figures["safety_loss"].item() == pytest.approx(term.item(), rel=1e-4)
    head = reward_model.model.score.weight
    slopes = [torch.autograd.grad(value, head, retain_graph=True)[0] for value in (weighted, plain, 2.0 * term)]
    torch.testing.assert_close(slopes[0] - slopes[1], slopes[2], rtol=1e-4, atol=1e-5)


def test_the_centring_term_is_added_per_pair_with_its_weight(reward_model: RewardModel) -> None:
    pairs = prepare_pairs(preferences(3), reward_model.tokenizer, margin="large", context_length=256)
    batch = make_pair_batch(pairs.examples)
    torch.nn.init.normal_(reward_model.model.score.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    scores = segment_scores(reward_model.model, batch.forest)
    plain, figures = pair_loss(reward_model.model, batch, safety_weight=0.0)
    centred, more = pair_loss(reward_model.model, batch, safety_weight=0.0, centring=0.5)
    term = torch.stack([(scores[3 * i + 1] + scores[3 * i + 2]) ** 2 for i in range(3)]).sum()
    assert (centred - plain).item() == pytest.approx(0.5 * term.item(), rel=1e-4)
    assert more["centring_loss"].item() == pytest.approx(term.item(), rel=1e-4)
    assert "centring_loss" not in figures
    head = reward_model.model.score.weight
    slopes = [torch.autograd.grad(value, head, retain_graph=True)[0] for value in (centred, plain, 0.5 * term)]
    torch.testing.assert_close(slopes[0] - slopes[1], slopes[2], rtol=1e-4, atol=1e-5)


def test_a_single_answer_is_right_on_its_labels_side_of_one_half(reward_model: RewardModel) -> None:
    source = Source(file="made", line=1)
    records = [
        *(LabelledAnswer(prompt=prompt(i), answer="the miller.", safe=i < 3, source=source) for i in range(4)),
        Preference(prompt=prompt(4), chosen="c", rejected="d", chosen_safe=True, rejected_safe=True, source=source),
    ]
    pairs = prepare_pairs(records, reward_model.tokenizer, margin="none", context_length=256)
    batch = make_pair_batch(pairs.examples)
    scores = segment_scores(reward_model.model, batch.forest)
    right = [bool(scores[2 * i + 1] > 0) == (i < 3) for i in range(4)]
    loss, figures = pair_loss(reward_model.model, batch, safety_weight=0.0)
    assert figures["accuracy"].item() == sum(right) + bool(scores[9] > scores[10])
    assert loss.item() == pytest.approx(figures["ranking_loss"].item(), rel=FP32_SAME_CODE)


def test_a_batch_without_pairs_has_the_safety_term_alone(reward_model: RewardModel) -> None:
    record = LabelledAnswer(prompt=prompt(0), answer="a", safe=True, source=Source(file="made", line=1))
    pairs = prepare_pairs([record], reward_model.tokenizer, margin="none", context_length=256)
    batch = make_pair_batch(pairs.examples)
    loss, figures = pair_loss(reward_model.model, batch, safety_weight=2.0)
    score = segment_scores(reward_model.model, batch.forest)[1]
    assert (batch.num_examples, figures["ranking_loss"].item()) == (1, 0.0)
    assert loss.item() == pytest.approx(-2.0 * torch.nn.functional.logsigmoid(score).item(), rel=FP32_SAME_CODE)


def test_a_saved_model_scores_the_same_and_loads_in_transformers(reward_model: RewardModel, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    reward_model.save(tmp_path / "checkpoint", meta={})
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    score = reward_model.model(ids).logits[0, 0].item()
    again = RewardModel.load(tmp_path / "checkpoint")
    assert again.model(ids).logits[0, 0].item() == score
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
    pairs = prepare_pairs(preferences(3), reward_model.tokenizer, margin="large", context_length=8)
    assert (pairs.examples, pairs.too_long) == ((), 3)


def test_accuracy_counts_a_tie_half_and_is_given_by_grade(
    reward_model: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = prepare_pairs(preferences(4), reward_model.tokenizer, margin="large", context_length=256)
    scores = [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [3.0, 1.0]]
    monkeypatch.setattr(RewardModel, "score_ids", lambda *_, **__: scores)
    accuracy = evaluate_reward(reward_model, pairs.examples, COMPUTE).accuracy
    assert accuracy["all"].value == pytest.approx(2.5 / 4)
    assert [accuracy[f"grade:{g}"].value for g in ("significantly", "better", "slightly", "negligibly")] == [
        1.0,
        0.0,
        0.5,
        1.0,
    ]


def test_a_learnable_preference_is_learnt(policy: Policy, session: Session) -> None:
    settings = RewardSettings(
        context_length=256,
        batch_size=8,
        epochs=3,
        optimizer=RewardOptimizerSettings(learning_rate=3e-3),
    )
    result = train_reward(policy, preferences(32), settings, session, held_out=preferences(12), name="helpfulness")
    assert result.evaluation.accuracy["all"].value > 0.9
    assert math.isfinite(result.training.held_out["loss"])
    assert (session.folder / "checkpoint" / "manifest.json").exists()


def test_a_training_goes_on_from_a_reward_model_with_its_head(policy: Policy, session: Session) -> None:
    before = RewardModel.from_policy(policy, seed=5, name="another head")
    head = before.model.score.weight.detach().clone()
    settings = RewardSettings(
        context_length=64, batch_size=4, max_steps=1, optimizer=RewardOptimizerSettings(learning_rate=1e-12)
    )
    train_reward(policy, preferences(8), settings, session, start=before)
    saved = RewardModel.load(session.folder / "checkpoint").model.score.weight
    assert torch.allclose(saved, head, atol=1e-6)
