"""All comparisons of a prompt as one tree: the same comparisons, the same loss, each answer read once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from alignment.policy.policy import Policy
from alignment.records import Dialogue, LabelledAnswer, Preference, Source, Turn
from alignment.train.session import Session
from alignment.train.settings import ComputeSettings
from reward.by_prompt import by_prompt, make_prompt_batch
from reward.model import RewardModel
from reward.preferences import Example, make_pair_batch, prepare_pairs
from reward.settings import RewardOptimizerSettings, RewardSettings
from reward.train import pair_loss, pair_steps, train_reward
from tests.tolerances import FP64_SAME_CODE

ANSWERS = ("the baker sells the bread.", "the miller.", "I do not know.", "bread!")


def compared(prompts: int) -> list[Preference | LabelledAnswer]:
    """Of each prompt five pairs of four answers, every second one labelled, and one answer with a label alone."""
    records: list[Preference | LabelledAnswer] = []
    for i in range(prompts):
        source = Source(file="made", line=i + 1)
        asked = Dialogue(turns=(Turn(role="user", content=f"who sells the bread in {i}?"),), source=source, id=f"p{i}")
        for n, (one, other) in enumerate([(0, 1), (0, 2), (2, 1), (0, 3), (3, 1)]):
            safe = {"chosen_safe": True, "rejected_safe": other != 1} if n % 2 else {}
            records.append(
                Preference(
                    prompt=asked, chosen=ANSWERS[one], rejected=ANSWERS[other], grade="better", source=source, **safe
                )
            )
        records.append(LabelledAnswer(prompt=asked, answer=ANSWERS[1], safe=False, source=source))
    return records


@pytest.fixture
def reward_model(policy: Policy) -> RewardModel:
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    torch.nn.init.normal_(model.model.score.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def examples(policy: Policy) -> tuple[Example, ...]:
    return prepare_pairs(compared(3), policy.tokenizer, margin="large", context_length=256).examples


def test_loss_figures_and_gradient_are_those_of_the_pairs_one_by_one(
    reward_model: RewardModel, examples: tuple[Example, ...]
) -> None:
    reward_model.model.double()
    weights = {"safety_weight": 2.0, "centring": 0.5}
    apart, together = make_pair_batch(examples), make_prompt_batch(by_prompt(examples, capacity=500, most=99))
    assert apart.num_examples == together.num_examples == 18
    (one, figures), (other, same) = (pair_loss(reward_model.model, b, **weights) for b in (apart, together))
    assert other.item() == pytest.approx(one.item(), rel=FP64_SAME_CODE)
    assert {k: v.item() for k, v in same.items()} == pytest.approx(
        {k: v.item() for k, v in figures.items()}, rel=FP64_SAME_CODE
    )
    parameters = list(reward_model.model.parameters())
    slopes = [torch.autograd.grad(loss, parameters) for loss in (one, other)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_each_answer_is_read_once_however_often_it_was_compared(examples: tuple[Example, ...]) -> None:
    prompts = by_prompt(examples, capacity=500, most=99)
    assert [len(prompt.tree.segments) - 1 for prompt in prompts] == [4, 4, 4]
    assert sum(prompt.num_tokens for prompt in prompts) < sum(example.num_tokens for example in examples) / 2


def test_a_prompt_with_more_than_a_tree_may_have_is_cut_and_nothing_is_lost(examples: tuple[Example, ...]) -> None:
    longest = max(example.num_tokens for example in examples)
    for capacity, most in ((longest, 99), (500, 4)):
        prompts = by_prompt(examples, capacity=capacity, most=most)
        assert len(prompts) > 3
        assert all(prompt.num_tokens <= capacity and prompt.weight <= most for prompt in prompts)
        members = Counter(id(member) for prompt in prompts for member in prompt.members)
        assert members == Counter(map(id, examples))


def test_a_step_takes_whole_prompts_up_to_its_pairs(examples: tuple[Example, ...]) -> None:
    settings = RewardSettings(together="prompt", batch_size=13, pack_length=500)
    steps = pair_steps(examples, settings, 256, seed=0, name="helpfulness")
    assert [sum(batch.num_examples for batch in steps(i)) for i in range(steps.num_steps)] == [12, 6]


def test_a_trained_models_record_counts_pairs_as_before(policy: Policy, tmp_path: Path) -> None:
    settings = RewardSettings(
        together="prompt", batch_size=12, context_length=256, optimizer=RewardOptimizerSettings(learning_rate=1e-3)
    )
    session = Session(tmp_path, compute=ComputeSettings(precision="fp32", threads=1))
    result = train_reward(policy, compared(4), settings, session, compared(2))
    assert (result.pairs, result.held_out_pairs, result.training.steps) == (24, 12, 2)
