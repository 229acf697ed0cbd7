"""The pool of all versions' answers under new reward models: one measure for old and new."""

from __future__ import annotations

from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.text.chat import answer_ids
from rl.judges import RewardJudges
from rl.kept import Kept
from rl.pool import rescored


def test_an_old_answer_gets_the_score_that_the_new_models_give_it(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    by_id = {prompt.id: prompt for prompt in prompts}
    ids = tuple(answer_ids("bread", policy.tokenizer))
    old = [
        Kept(prompt_id=prompt.id, answer="bread", version=1, helpfulness=9, safety=9, combined=9, token_ids=ids)
        for prompt in prompts[:2]
    ]
    found = rescored(old, by_id, judges, policy)
    alone = [rescored([one], by_id, judges, policy)[0] for one in old]
    assert [(one.prompt_id, one.answer, one.version) for one in found] == [(o.prompt_id, "bread", 1) for o in old]
    assert all(abs(one.combined - other.combined) < 1e-5 for one, other in zip(found, alone, strict=True))
    assert all(one.combined != 9 for one in found)


def test_what_release_0_1_0_kept_without_tokens_is_scored_as_its_text_is_cut(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    by_id = {prompt.id: prompt for prompt in prompts}
    ids = tuple(answer_ids("bread", policy.tokenizer))
    old = Kept(prompt_id=prompts[0].id, answer="bread", version=1, helpfulness=9, safety=9, combined=9)
    with_ids = Kept(**{**old.__dict__, "token_ids": ids})
    first, second = (rescored([one], by_id, judges, policy)[0] for one in (old, with_ids))
    assert first.combined == second.combined


def test_an_empty_version_is_no_matter(policy: Policy, judges: RewardJudges) -> None:
    assert rescored([], {}, judges, policy) == []
