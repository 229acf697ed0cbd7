"""Every version of a model answers the same held-out prompts; judges score the answers.

Answers are greedy by default, journalled as they arrive, and each answer's verdicts stand beside it in
`answers.jsonl`, so that every figure of the report can be traced to its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignment.evaluate.comparisons import compare_versions
from alignment.evaluate.result import Evaluation, JudgeRecord, ScoredAnswer, write_evaluation
from alignment.evaluate.settings import EvaluateSettings
from alignment.evaluate.summary import recall, summarise
from alignment.generate.draw import JOURNALS, answers_of, draw_samples, fitting_prompts
from alignment.given import given_prompts
from alignment.judging import Judge
from alignment.policy.policy import Policy, load_policy
from alignment.randomness import named_generator
from alignment.records import Answer, Dialogue
from alignment.train.compute import resolve_compute
from alignment.train.session import Session


@dataclass(frozen=True, kw_only=True)
class Version:
    """A model to evaluate.

    Attributes:
        name: in the report.
        control: it is compared with the versions and is none itself; controls come last.
    """

    name: str
    checkpoint: Path
    control: bool = False


def choose_held_out(prompts: Sequence[Dialogue], count: int, *, seed: int, name: str) -> list[Dialogue]:
    """A fixed draw of held-out prompts; 0 takes all."""
    if not count or count >= len(prompts):
        return list(prompts)
    picked = named_generator(seed, "evaluate", name).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in sorted(picked.tolist())]


def evaluate_versions(
    versions: Sequence[Version] | Mapping[str, Path | str],
    prompts: Mapping[str, Iterable[Dialogue]] | Iterable[Dialogue],
    judges: Judge | Sequence[Judge],
    settings: EvaluateSettings,
    session: Session,
    *,
    first: str | None = None,
) -> Evaluation:
    """Answer and judge, version by version.

    Args:
        versions: or name -> checkpoint, in order.
        prompts: held-out prompts by campaign ("helpfulness", "safety"); without campaigns they are helpfulness prompts.
        judges: one or several; each figure is reported as "judge.figure".
        first: the version that answers before the others, for a judge that holds the others against it.

    Returns:
        By version and campaign the mean of every figure with a bootstrap interval, and by task where prompts name
        theirs; facts told rightly, of people asked about in training and of others; win rates and a ranking a judge.
        Also in `evaluation.json`, the answers in `answers.jsonl`.

    Raises:
        UsageError: what is given holds no dialogues.
        DataError: a prompt ends with an answer.
    """
    if isinstance(versions, Mapping):
        versions = [Version(name=name, checkpoint=Path(path)) for name, path in versions.items()]
    by_campaign = prompts if isinstance(prompts, Mapping) else {"helpfulness": prompts}
    asked = {campaign: given_prompts(each, f"prompts[{campaign!r}]") for campaign, each in by_campaign.items()}
    judges = judges if isinstance(judges, Sequence) else (judges,)
    scored: list[ScoredAnswer] = []
    session.progress.begin(len(versions), "versions")
    for done, version in enumerate(sorted(versions, key=lambda version: version.name != first), start=1):
        policy = load_policy(version.checkpoint)
        resolve_compute(session.compute).place(policy.model)
        for campaign, dialogues in asked.items():
            answers = _answer(policy, dialogues, settings, session, version=version.name, campaign=campaign)
            scored += _judged(answers, judges, version=version.name, campaign=campaign)
        session.progress.step(done, {})
        session.stop.check()
    session.progress.end()
    names = [version.name for version in versions]
    scored.sort(key=lambda answer: names.index(answer.version))
    evaluation = Evaluation(
        versions=summarise(scored, names, seed=session.seed),
        recall=recall(scored, names, seed=session.seed),
        comparisons=compare_versions(scored, names, judges, seed=session.seed),
        judges=tuple(JudgeRecord(name=judge.name, independent=judge.independent) for judge in judges),
        controls=tuple(version.name for version in versions if version.control),
    )
    write_evaluation(session.folder, evaluation, scored)
    return evaluation


def _answer(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    settings: EvaluateSettings,
    session: Session,
    *,
    version: str,
    campaign: str,
) -> list[Answer]:
    """One answer to every prompt that leaves room for it."""
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
        journal_path=session.folder / JOURNALS / f"{version}-{campaign}.jsonl",
    )
    return [options[0] for options in answers_of(fitting, samples, policy)]


def _judged(answers: Sequence[Answer], judges: Sequence[Judge], *, version: str, campaign: str) -> list[ScoredAnswer]:
    """Every answer with all judges' figures, and with its length."""
    scores: list[dict[str, float]] = [{} for _ in answers]
    for judge in judges:
        for own, given in zip(scores, judge.judge(answers), strict=True):
            own |= {f"{judge.name}.{figure}": value for figure, value in given.items()}
    return [
        ScoredAnswer(
            version=version,
            campaign=campaign,
            prompt=answer.dialogue.id,
            task=str(answer.dialogue.meta.get("task", "")),
            person_group=str(answer.dialogue.meta.get("person_group", "")),
            turns=tuple((turn.role, turn.content) for turn in answer.dialogue.turns),
            system=answer.dialogue.system,
            answer=answer.text,
            scores={**own, "answer_tokens": float(len(answer.token_ids)), "finished": float(answer.finished)},
        )
        for answer, own in zip(answers, scores, strict=True)
    ]
