"""Reward models measured on a policy's own answers: does the one that they prefer deserve it?

To held-out prompts a policy draws K answers and says its greedy one; every reward model scores them all, and a judge
outside training says what they are worth.  How often a model is right about pairs of them is in `measure/own_pairs.py`,
what its choice gains over the greedy answer in `measure/best_of.py` (Llama 2 paper, 3.2.3, figure 7).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from alignment.errors import DataError
from alignment.evaluate.settings import OwnAnswersSettings
from alignment.evaluate.versions import choose_held_out
from alignment.generate.draw import JOURNALS, answers_of, draw_samples, fitting_prompts
from alignment.judging import Decision, Judge
from alignment.policy.policy import Policy, load_policy
from alignment.records import Answer, Dialogue
from alignment.store.atomic import write_json, write_text
from alignment.train.compute import resolve_compute
from alignment.train.session import Session
from reward.measure.best_of import best_of, of_score, of_verdict
from reward.measure.own_pairs import distinct, own_pairs
from reward.measure.own_result import (
    COMBINED,
    FILE,
    BestOf,
    CampaignMeasures,
    OwnAnswer,
    OwnAnswersResult,
    PromptAnswers,
)
from reward.scorer import Scorer

ANSWERS_FILE = "own_answers.jsonl"
_SAFETY = "safety"  # the campaign whose answers can be unsafe


@dataclass(frozen=True, kw_only=True)
class ScoredBy:
    """The reward models that a policy's own answers are measured by.

    Attributes:
        judges: they as one judge; each figure of it is a model.
        beside: further reward models by name, that the judge knows nothing of.
    """

    judges: Judge
    beside: Mapping[str, Scorer] = field(default_factory=dict)


def measure_own_answers(
    policies: Mapping[str, Path | str],
    prompts: Mapping[str, Sequence[Dialogue]],
    judges: Judge,
    outside: Judge | None,
    settings: OwnAnswersSettings,
    session: Session,
    *,
    beside: Mapping[str, Scorer] | None = None,
    by_policy: Mapping[str, ScoredBy] | None = None,
) -> OwnAnswersResult:
    """Draw, score and measure; saves `own_answers.json`, and the answers with all scores as `own_answers.jsonl`.

    Args:
        policies: name -> checkpoint.
        prompts: held-out prompts by campaign.
        judges: the reward models as one judge; each figure of it is a model.
        outside: took no part in training; None: the figures are the reward models' own.
        beside: further reward models by name, that the judge knows nothing of.
        by_policy: policies whose answers other reward models have learnt from -> these, in place of the two above.

    Raises:
        TokenizerError: a policy's token ids are other texts to a reward model.
        NonFiniteError, DataError: a score is no finite number.
    """
    measures: list[CampaignMeasures] = []
    lines: list[str] = []
    for version, checkpoint in policies.items():
        policy = load_policy(checkpoint)
        by = (by_policy or {}).get(version) or ScoredBy(judges=judges, beside=beside or {})
        resolve_compute(session.compute).place(policy.model)
        for campaign, asked in prompts.items():
            count = settings.num_safety_prompts if campaign == _SAFETY else settings.num_prompts
            chosen = choose_held_out(asked, count, seed=session.seed, name=f"own answers, {campaign}")
            drawn = _drawn(policy, chosen, settings, session, version=version, campaign=campaign)
            answers = _scored(drawn, by.judges, outside, by.beside, session)
            measures += _measured(answers, outside, version=version, campaign=campaign)
            lines += [
                json.dumps({"version": version, "campaign": campaign, **asdict(each)}, ensure_ascii=False) + "\n"
                for each in answers
            ]
            session.stop.check()
    found = OwnAnswersResult(
        judge=outside.name if outside is not None else None,
        samples=settings.samples,
        temperature=settings.sampling.temperature,
        measures=tuple(measures),
    )
    write_text(session.folder / ANSWERS_FILE, "".join(lines))
    write_json(session.folder / FILE, found.as_json())
    return found


def _drawn(
    policy: Policy,
    prompts: Sequence[Dialogue],
    settings: OwnAnswersSettings,
    session: Session,
    *,
    version: str,
    campaign: str,
) -> list[list[Answer]]:
    """Each prompt's K drawn answers, and last the greedy one; prompts without room for an answer are left out."""
    fitting, left_out = fitting_prompts(prompts, policy, settings.sampling)
    if left_out:
        session.progress.note(f"{left_out} {campaign} prompts leave no room for an answer and are left out")
    greedy = settings.sampling.greedy()
    session.progress.begin(None, "samples")
    found = [
        answers_of(
            fitting,
            draw_samples(
                policy,
                fitting,
                num_samples=number,
                sampling=sampling,
                seed=session.seed,
                names=("own answers", campaign, kind),
                journal_path=session.folder / JOURNALS / f"own-{version}-{campaign}-{kind}.jsonl",
            ),
            policy,
        )
        for kind, number, sampling in (("drawn", settings.samples, settings.sampling), ("greedy", 1, greedy))
    ]
    session.progress.end()
    return [[*drawn, *single] for drawn, single in zip(*found, strict=True)]


def _scored(
    drawn: Sequence[Sequence[Answer]],
    judges: Judge,
    outside: Judge | None,
    beside: Mapping[str, Scorer],
    session: Session,
) -> list[PromptAnswers]:
    """Every answer with every model's score and the outside judge's verdict."""
    pool = [answer for options in drawn for answer in options]
    if not pool:
        return []
    scores = [dict(figures) for figures in judges.judge(pool)]
    if len(scores[0]) == 2:
        for own in scores:
            own.pop(COMBINED, None)  # of one model alone: its own score
    for name, model in beside.items():
        for answer, own, score in zip(
            pool, scores, model.score_answers(pool, resolve_compute(session.compute)), strict=True
        ):
            if not math.isfinite(score):
                raise DataError(f"{answer.dialogue.source}: the {name} model scores an answer {score}")
            own[name] = score
    verdicts = outside.judge(pool) if outside is not None else [{} for _ in pool]
    answers = iter(
        OwnAnswer(text=answer.text, scores=own, verdict=verdict)
        for answer, own, verdict in zip(pool, scores, verdicts, strict=True)
    )
    found = []
    for options in drawn:
        *several, greedy = (next(answers) for _ in options)
        found.append(PromptAnswers(prompt=options[0].dialogue.id, drawn=tuple(several), greedy=greedy))
    return found


def _measured(
    answers: Sequence[PromptAnswers], outside: Judge | None, *, version: str, campaign: str
) -> list[CampaignMeasures]:
    """One campaign's figures; none where nothing was answered."""
    if not answers:
        return []
    decision = outside.decides.get(campaign) if outside is not None else None
    pairs = own_pairs(answers, decision, safety=campaign == _SAFETY) if decision is not None else {}
    missing = sum(not answer.verdict for at in answers for answer in (*at.drawn, at.greedy))
    return [
        CampaignMeasures(
            version=version,
            campaign=campaign,
            prompts=len(answers),
            distinct=sum(len(distinct(at)) for at in answers) / len(answers),
            without_verdict=missing if outside is not None else 0,
            pairs=pairs,
            best=tuple(_best(answers, outside, decision)),
        )
    ]


def _best(answers: Sequence[PromptAnswers], outside: Judge | None, decision: Decision | None) -> list[BestOf]:
    """On the outside judge's scale; without one on each model's own."""
    models = list(answers[0].greedy.scores)
    if outside is None or decision is None:
        own = [
            best_of(answers, [name], of_score(name), judge="reward", figure=name, with_oracle=False) for name in models
        ]
    else:
        value = of_verdict(decision.figure)
        own = [best_of(answers, models, value, judge=outside.name, figure=decision.figure, with_oracle=True)]
    return [found for found in own if found is not None]
