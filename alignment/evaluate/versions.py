"""Every version of a model answers the same held-out prompts; judges score the answers.

Answers are greedy by default, journalled as they arrive, and each answer's verdicts stand beside it in
`answers.jsonl`, so that every figure of the report can be traced to its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.evaluate.comparisons import compare_versions
from alignment.evaluate.settings import EvaluateSettings
from alignment.evaluate.summary import headline, recall, summarise
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.policy.policy import Policy, load_policy
from alignment.randomness import named_generator
from alignment.records import Dialogue
from alignment.store.atomic import write_json, write_text
from alignment.train.compute import resolve_compute
from alignment.train.session import Session

# (policy, prompts with tokens, answers' token ids, texts) -> one mapping of named figures an answer
Scorer = Callable[
    [Policy, Sequence[Dialogue], Sequence[Sequence[int]], Sequence[Sequence[int]], Sequence[str]],
    list[dict[str, float]],
]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A model to evaluate: its name in the report and its checkpoint."""

    name: str
    checkpoint: Path


def choose_held_out(prompts: Sequence[Dialogue], count: int, *, seed: int, name: str) -> list[Dialogue]:
    """A fixed draw of held-out prompts; 0 takes all."""
    if not count or count >= len(prompts):
        return list(prompts)
    picked = named_generator(seed, "evaluate", name).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in sorted(picked.tolist())]


def evaluate_versions(
    versions: Sequence[Version],
    prompts: Mapping[str, Sequence[Dialogue]],
    scorers: Mapping[str, Scorer],
    settings: EvaluateSettings,
    session: Session,
) -> dict[str, Any]:
    """Answer and judge, version by version.

    Args:
        prompts: held-out prompts by campaign ("helpfulness", "safety").
        scorers: by name ("reward", "gold"); each figure is reported as "scorer.figure".

    Returns:
        `versions`: by version and campaign the mean of every figure with a bootstrap interval, and by
        `task` where prompts name theirs; `recall`: facts told rightly, of people asked about in training and of
        others; `comparisons`: win rates and a ranking a judge.  Also in `evaluation.json`, answers in `answers.jsonl`.
    """
    compute = resolve_compute(session.compute)
    rows: list[dict[str, Any]] = []
    session.progress.begin(len(versions), "versions")
    for done, version in enumerate(versions, start=1):
        policy = load_policy(version.checkpoint)
        compute.place(policy.model)
        for campaign, dialogues in prompts.items():
            fitting, left_out = fitting_prompts(dialogues, policy, settings.sampling)
            if left_out:
                session.progress.note(f"{left_out} {campaign} prompts leave no room for an answer and are left out")
            samples = draw_samples(
                policy,
                fitting,
                num_samples=1,
                sampling=settings.sampling,
                seed=session.seed,
                names=("evaluate", campaign),
                journal_path=session.folder / JOURNALS / f"{version.name}-{campaign}.jsonl",
            )
            answers = [options[0] for options in samples]
            texts = [policy.tokenizer.decode(answer.token_ids).strip() for answer in answers]
            figures: list[dict[str, float]] = [{} for _ in answers]
            for name, scorer in scorers.items():
                given = scorer(
                    policy, [d for d, _ in fitting], [ids for _, ids in fitting], [a.token_ids for a in answers], texts
                )
                for row, scores in zip(figures, given, strict=True):
                    row |= {f"{name}.{key}": value for key, value in scores.items()}
            for (dialogue, _), answer, text, scores in zip(fitting, answers, texts, figures, strict=True):
                scores |= {
                    "answer_tokens": float(len(answer.token_ids)),
                    "finished": float(answer.finish_reason == "stop"),
                }
                rows.append(
                    {
                        "version": version.name,
                        "campaign": campaign,
                        "prompt": dialogue.id,
                        "task": str(dialogue.meta.get("task", "")),
                        "person_group": str(dialogue.meta.get("person_group", "")),
                        "turns": [[turn.role, turn.content] for turn in dialogue.turns],
                        "system": dialogue.system,
                        "answer": text,
                        "scores": scores,
                    }
                )
        session.progress.step(done, {})
        session.stop.check()
    session.progress.end()
    write_text(session.folder / "answers.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    names = [version.name for version in versions]
    result = {
        "versions": summarise(rows, names, seed=session.seed),
        "recall": recall(rows, names, seed=session.seed),
        "comparisons": compare_versions(rows, names, seed=session.seed),
    }
    write_json(session.folder / "evaluation.json", result)
    return {**result, "headline": headline(result["versions"])}
