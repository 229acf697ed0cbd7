"""The pool of all versions' kept answers, scored again by the newest reward models (Llama 2 paper, 3.2.3).

The paper kept the best of the previous version's samples only, saw V3 forget what earlier versions could do (rhyming
lines of poems), and from then on took the best of *all* earlier versions' samples.  Scores of two reward models are on
two scales, so old answers are judged anew before they are compared with new ones; scores of the same models stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.records import Answer, Dialogue
from alignment.text.chat import answer_ids, render_prompt
from rl.judges import RewardJudges
from rl.kept import KEPT_FILE, Kept, read_kept
from rl.scored_by import judge_digests, prompt_digest, read_scored_by, same_judges


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What earlier versions kept, oldest first.

    Attributes:
        kept: version by version, with scores of one measure.
        rescored: answers among them that were scored again.
        gone: answers set aside because their prompt is no training prompt (any more), by a change or by being held out.
        changed: answers set aside because the prompt of that id says something else now.
    """

    kept: tuple[tuple[Kept, ...], ...]
    rescored: int = 0
    gone: int = 0
    changed: int = 0

    def __str__(self) -> str:
        whole = sum(map(len, self.kept)) + self.gone + self.changed
        return (
            f"of {whole:,} answers that earlier versions kept, {self.gone + self.changed:,} are set aside: the prompts "
            f"of {self.gone:,} are no training prompts any more, those of {self.changed:,} have changed"
        )


def kept_earlier(
    folders: Sequence[Path],
    prompts: Mapping[str, Dialogue],
    judges: RewardJudges,
    policy: Policy,
    *,
    rescore: bool | None = None,
) -> Earlier:
    """What the versions in these folders kept, as candidates of this one.

    Args:
        prompts: id -> prompt, all training prompts of now.
        rescore: whether the answers are scored again; None: where their folder does not say that these very reward
            models scored them.

    Raises:
        DataError: a folder holds no kept answers, or not one whose prompt is still a training prompt.
        NonFiniteError: a score is NaN or infinite.
    """
    versions: list[tuple[Kept, ...]] = []
    counts = {"gone": 0, "changed": 0, "rescored": 0}
    now = judge_digests(judges) if folders and rescore is None else {}
    for folder in folders:
        if not (folder / KEPT_FILE).is_file():
            raise DataError(f"{folder} holds no {KEPT_FILE}; the folder of a finished rejection sampling is needed")
        kept, scored = read_kept(folder / KEPT_FILE), read_scored_by(folder)
        there = [one for one in kept if one.prompt_id in prompts]
        said = scored.prompts if scored is not None else {}
        # a folder of a release before this one does not say what its prompts were: their ids must do
        same = [one for one in there if said.get(one.prompt_id) in (None, prompt_digest(prompts[one.prompt_id]))]
        if kept and not same:
            raise DataError(
                f"{folder}: not one of the {len(kept):,} prompts whose answers it keeps is a training prompt now "
                f"({kept[0].prompt_id}, …); leave the folder out, or give the prompts that it was made with"
            )
        again = not same_judges(scored, now) if rescore is None else rescore
        versions.append(tuple(rescored(same, prompts, judges, policy) if again else same))
        counts["gone"] += len(kept) - len(there)
        counts["changed"] += len(there) - len(same)
        counts["rescored"] += len(same) if again else 0
    return Earlier(kept=tuple(versions), **counts)


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
