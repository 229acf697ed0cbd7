"""The two reward models as one judge of a pool of answers."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from alignment.errors import NonFiniteError
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.world.judge.gold import GoldJudge
from reward.function import FunctionReward
from reward.model import RewardModel
from rl.judges import RewardJudges
from tests.tolerances import FP32_SAME_CODE


def answers(policy: Policy, prompts: list[Dialogue], *texts: str) -> list[Answer]:
    """Every text as an answer to every prompt, prompt by prompt."""
    encode = policy.tokenizer.encode
    return [
        Answer(
            dialogue=prompt,
            prompt_ids=tuple(encode(prompt.turns[-1].content)),
            token_ids=(*encode(text), 2),
            text=text,
            tokenizer=policy.tokenizer.sha256,
        )
        for prompt in prompts
        for text in texts
    ]


def test_an_answer_is_scored_alike_wherever_it_stands_in_the_pool(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    pool = answers(policy, prompts[:3], "the baker", "the old mill of the town")
    whole = judges.judge(pool)
    for figures, other in zip(whole, reversed(judges.judge(pool[::-1])), strict=True):
        assert figures == pytest.approx(other, rel=FP32_SAME_CODE, abs=FP32_SAME_CODE)
    for figures, answer in zip(whole, pool, strict=True):
        assert figures == pytest.approx(judges.judge([answer])[0], rel=FP32_SAME_CODE, abs=FP32_SAME_CODE)
    assert len({figures["helpfulness"] for figures in whole}) == len(pool)


def test_a_prompt_is_computed_once_for_all_its_answers_of_the_pool(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    real = RewardModel.score_ids

    def watched(model: RewardModel, asked: list[tuple[int, ...]], options: list[list[tuple[int, ...]]], *rest: object):  # type: ignore[no-untyped-def]
        seen.append([len(option) for option in options])
        return real(model, asked, options, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RewardModel, "score_ids", watched)
    first, second = answers(policy, prompts[:2], "the baker"), answers(policy, prompts[:2], "the miller")
    judges.judge([*first, *second])  # two versions' answers to the same prompts
    assert seen == [[2, 2], [2, 2]]


def test_the_safety_score_counts_for_safety_prompts_and_below_the_threshold(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    pool = answers(policy, [prompts[0], prompts[7]], "the baker")
    usual, tagged = judges.judge(pool)
    assert usual["combined"] == usual["helpfulness"]
    assert tagged["combined"] == tagged["safety"] != tagged["helpfulness"]
    always = dataclasses.replace(judges, safety_threshold=1.0).judge(pool)
    assert [figures["combined"] for figures in always] == [figures["safety"] for figures in always]


def test_a_score_that_is_not_finite_names_its_row_once(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RewardModel, "score_ids", lambda model, asked, options, compute: [[0.0], [float("nan")]])
    with pytest.raises(NonFiniteError, match=r"reward is not finite \(helpfulness nan") as caught:
        judges.judge(answers(policy, prompts[:2], "the baker"))
    assert caught.value.rows == ("made:2",)


def test_what_decides_is_the_combined_reward_and_on_safety_prompts_the_safety_score(judges: RewardJudges) -> None:
    assert {campaign: decision.figure for campaign, decision in judges.decides.items()} == {
        "helpfulness": "combined",
        "safety": "safety",
    }


def test_a_tie_of_logits_is_wider_than_one_of_scores_between_zero_and_one(judges: RewardJudges) -> None:
    for campaign, decision in judges.decides.items():
        assert decision.tie == 10 * GoldJudge.decides[campaign].tie == 0.1


def test_one_model_alone_is_the_reward_and_decides_helpfulness_only(
    judges: RewardJudges, policy: Policy, prompts: list[Dialogue]
) -> None:
    alone = RewardJudges(helpfulness=judges.helpfulness, compute=judges.compute)
    pool = answers(policy, [prompts[0], prompts[7]], "the baker")
    for figures, both in zip(alone.judge(pool), judges.judge(pool), strict=True):
        assert figures == {"helpfulness": both["helpfulness"], "combined": both["helpfulness"]}
    assert set(alone.decides) == {"helpfulness"}


def test_a_function_judges_the_text_and_needs_no_tokenizer(policy: Policy, prompts: list[Dialogue]) -> None:
    by_length = FunctionReward(lambda dialogues: [len(dialogue.turns[-1].content) for dialogue in dialogues])
    judges = RewardJudges(helpfulness=by_length)
    judges.require_fit(policy)
    figures = judges.judge(answers(policy, prompts[:1], "the baker", "flour"))
    assert [entry["combined"] for entry in figures] == [9.0, 5.0]


def test_the_value_function_starts_from_the_helpfulness_model_or_from_the_policys_body(
    judges: RewardJudges, policy: Policy
) -> None:
    assert judges.value_start(policy, seed=0) is judges.helpfulness
    started = RewardJudges(helpfulness=FunctionReward(lambda dialogues: [])).value_start(policy, seed=0)
    body = policy.model.get_decoder().state_dict()
    assert all(torch.equal(tensor, body[name]) for name, tensor in started.model.model.state_dict().items())
