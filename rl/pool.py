"""The pool of all versions' kept answers, scored again by the newest reward models (Llama 2 paper, 3.2.3).

The paper kept the best of the previous version's samples only, saw V3 forget what earlier versions could do (rhyming
lines of poems), and from then on took the best of *all* earlier versions' samples.  Scores of two reward models are on
two scales, so old answers are judged anew before they are compared with new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.text.chat import answer_ids, render_prompt
from rl.judges import RewardJudges
from rl.kept import Kept


def rescored(kept: Sequence[Kept], prompts: Mapping[str, Dialogue], judges: RewardJudges, policy: Policy) -> list[Kept]:
    """An earlier version's kept answers with the scores that these reward models give them.

    Args:
        prompts: id -> prompt, of every kept answer.
        policy: whose tokenizer the token ids are of.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    tokenizer = policy.tokenizer
    answers = [
        Answer(
            dialogue=prompts[one.prompt_id],
            prompt_ids=tuple(render_prompt(prompts[one.prompt_id], tokenizer)),
            token_ids=one.token_ids or tuple(answer_ids(one.answer, tokenizer)),
            text=one.answer,
            tokenizer=tokenizer.sha256,
        )
        for one in kept
    ]
    scores = judges.judge(answers) if answers else []
    return [
        replace(one, helpfulness=found["helpfulness"], safety=found.get("safety"), combined=found["combined"])
        for one, found in zip(kept, scores, strict=True)
    ]
