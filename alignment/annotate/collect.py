"""Collecting preferences (Llama 2 paper, 3.2.1): a policy's own answers in pairs, compared, as records to learn from.

1. every variant answers the prompts at every temperature;
2. answers of two variants are paired; what is the same is never asked;
3. an annotator compares each pair, a second one some of them;
4. what was preferred is written to `records.jsonl`, which reward models read as `{stage: collect}`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alignment.annotate.annotator import Annotator, Question, Verdict
from alignment.annotate.judging import Judged, judge_questions
from alignment.annotate.pairs import Drawn, Pairs, Way, draw_pairs
from alignment.annotate.result import COLLECT_FILE, CampaignCounts, CollectResult, TwiceJudged
from alignment.annotate.settings import CollectSettings
from alignment.data.forms.columns import RowFault, check_message
from alignment.data.rows.quarantine import write_quarantine
from alignment.data.rows.written import RECORDS_FILE, write_records
from alignment.errors import DataError
from alignment.generate.draw import JOURNALS, answers_of, draw_samples, fitting_prompts
from alignment.given import given_prompts
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.records import GRADES, Answer, Dialogue, Preference, Source
from alignment.report.intervals import wilson
from alignment.store.atomic import write_json
from alignment.text.chat import marker_in
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import resolve_compute
from alignment.train.session import Session

TRAIN, HELD_OUT = "train", "held_out"  # of a record's `meta["part"]`: which sources of a data set read it
SOURCE = "stage:collect"  # where the records say that they come from
UNJUDGED_FILE = "unjudged.jsonl"


@dataclass(kw_only=True)
class _Answers:
    """What was drawn: prompt's id -> way -> usable texts, and counts of all."""

    usable: dict[str, dict[Way, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    drawn: int = 0
    unusable: int = 0
    cut: int = 0
    tokens: int = 0
    left_out: set[str] = field(default_factory=set)


def collect_preferences(
    variants: Mapping[str, Policy | Callable[[], Policy]],
    prompts: Iterable[Dialogue],
    annotator: Annotator,
    settings: CollectSettings,
    session: Session,
    *,
    held_out: Iterable[Dialogue] = (),
) -> CollectResult:
    """Collect preferences and write them to `records.jsonl` in the session's folder.

    Args:
        variants: name -> policy, or what loads it; one is held at a time.
        prompts: training prompts; `meta["campaign"]` says whose guidelines hold ("helpfulness" where it says nothing).
        held_out: validation prompts, whose pairs measure what learns from the others'.

    Returns:
        The counts, which `collect.json` holds too.

    Raises:
        UsageError: what is given holds no dialogues.
        DataError: a prompt ends with an answer, three questions running got no verdict, or no preference came of it.
    """
    given = {
        TRAIN: _chosen(given_prompts(prompts, "prompts"), settings.num_prompts, session.seed, TRAIN),
        HELD_OUT: _chosen(given_prompts(held_out, "held_out"), settings.num_held_out, session.seed, HELD_OUT)
        if settings.num_held_out
        else [],
    }
    parts = {prompt.id: part for part, asked in given.items() for prompt in asked}
    asked = [*given[TRAIN], *given[HELD_OUT]]
    answers = _answer(variants, asked, settings, session)
    shown = {
        prompt.id: draw_pairs(
            answers.usable.get(prompt.id, {}), settings.pairs_per_prompt, seed=session.seed, prompt=prompt.id
        )
        for prompt in asked
        if prompt.id not in answers.left_out
    }
    paired = [
        (Question(prompt=prompt, first=one.text, second=other.text, campaign=_campaign(prompt)), one, other)
        for prompt in asked
        if prompt.id in shown
        for one, other in shown[prompt.id].asked
    ]
    judged = judge_questions(
        [question for question, _, _ in paired],
        annotator,
        session,
        session.folder / JOURNALS / "verdicts.jsonl",
        twice=settings.judged_twice,
    )
    records = _records(paired, judged, parts)
    result = _result(annotator, answers, shown, asked, paired, judged, records)
    write_quarantine(session.folder / UNJUDGED_FILE, judged.set_aside)
    write_json(session.folder / COLLECT_FILE, result.as_json())
    if not any(record.meta["part"] == TRAIN for record in records):
        raise DataError(
            f"no preference came of {len(asked):,} prompts: {answers.unusable:,} of {answers.drawn:,} answers are cut, "
            f"empty or marked, {sum(pairs.identical for pairs in shown.values()):,} pairs are identical and "
            f"{len(judged.set_aside):,} got no verdict; raise max_new_tokens or the temperatures"
        )
    write_records(session.folder / RECORDS_FILE, records)
    return result


def _chosen(prompts: Sequence[Dialogue], count: int, seed: int, part: str) -> list[Dialogue]:
    """So many prompts of each campaign, a fixed draw; 0 takes all."""
    found: list[Dialogue] = []
    for campaign in dict.fromkeys(map(_campaign, prompts)):
        own = [prompt for prompt in prompts if _campaign(prompt) == campaign]
        if count and count < len(own):
            picked = named_generator(seed, "collect-prompts", part, campaign).choice(len(own), count, replace=False)
            own = [own[i] for i in sorted(picked.tolist())]
        found += own
    return found


def _campaign(prompt: Dialogue) -> str:
    return str(prompt.meta.get("campaign", "helpfulness"))


def _answer(
    variants: Mapping[str, Policy | Callable[[], Policy]],
    prompts: Sequence[Dialogue],
    settings: CollectSettings,
    session: Session,
) -> _Answers:
    """Every variant's answers at every temperature; what the journals hold is not drawn again."""
    found = _Answers()
    session.progress.begin(len(variants) * len(settings.temperatures), "variants")
    done = 0
    for name, given in variants.items():
        policy = given if isinstance(given, Policy) else given()
        resolve_compute(session.compute).place(policy.model)
        for temperature in settings.temperatures:
            sampling = settings.sampling(temperature)
            fitting, _ = fitting_prompts(prompts, policy, sampling)
            found.left_out |= {prompt.id for prompt in prompts} - {prompt.id for prompt, _ in fitting}
            samples = draw_samples(
                policy,
                fitting,
                num_samples=settings.answers,
                sampling=sampling,
                seed=session.seed,
                names=("collect", name, f"{temperature:g}"),
                journal_path=session.folder / JOURNALS / f"{name}-{temperature:g}.jsonl",
            )
            way = Way(variant=name, temperature=temperature)
            for options in answers_of(fitting, samples, policy):
                _take(found, way, options, policy.tokenizer, keep_cut=settings.keep_cut)
            done += 1
            session.progress.step(done, {})
            session.stop.check()
    session.progress.end()
    return found


def _take(found: _Answers, way: Way, options: Sequence[Answer], tokenizer: Tokenizer, *, keep_cut: bool) -> None:
    """Count answers, and take those that may be in a pair."""
    texts = [answer.text for answer in options if (answer.finished or keep_cut) and _readable(answer.text, tokenizer)]
    found.usable[options[0].dialogue.id][way] = texts
    found.drawn += len(options)
    found.unusable += len(options) - len(texts)
    found.cut += sum(not answer.finished for answer in options)
    found.tokens += sum(len(answer.token_ids) for answer in options)


def _readable(text: str, tokenizer: Tokenizer) -> bool:
    """Whether a reward model's data may hold it: not empty, without control tokens, by the rule that reads it there."""
    try:
        check_message(text, "answer")
    except RowFault:
        return False
    return marker_in(text, tokenizer) is None


_Paired = tuple[Question, Drawn, Drawn]


def _records(paired: Sequence[_Paired], judged: Judged, parts: Mapping[str, str]) -> list[Preference]:
    """What was preferred, as records; unsure ones and unsafe answers preferred to safe ones are none."""
    records: list[Preference] = []
    for question, one, other in paired:
        verdict = judged.first.get(question.key)
        if verdict is None or not verdict.preferred or verdict.prefers_unsafe:
            continue
        sides = [(one, verdict.first_safe), (other, verdict.second_safe)]
        (chosen, chosen_safe), (rejected, rejected_safe) = sides if verdict.preferred > 0 else sides[::-1]
        meta = {
            "campaign": question.campaign,
            "part": parts[question.prompt.id],
            "annotator": verdict.annotator,
            "chosen_from": str(chosen.way),
            "rejected_from": str(rejected.way),
            **{name: question.prompt.meta[name] for name in ("task",) if name in question.prompt.meta},
        }
        records.append(
            Preference(
                prompt=question.prompt,
                chosen=chosen.text,
                rejected=rejected.text,
                source=Source(file=SOURCE, line=len(records) + 1),
                grade=verdict.grade,
                chosen_safe=chosen_safe,
                rejected_safe=rejected_safe,
                meta=meta,
            )
        )
    return records


def _result(
    annotator: Annotator,
    answers: _Answers,
    shown: Mapping[str, Pairs],
    asked: Sequence[Dialogue],
    paired: Sequence[_Paired],
    judged: Judged,
    records: Sequence[Preference],
) -> CollectResult:
    campaigns: dict[str, CampaignCounts] = defaultdict(CampaignCounts)
    for prompt in asked:
        if prompt.id in shown:
            counts, pairs = campaigns[_campaign(prompt)], shown[prompt.id]
            counts.prompts += 1
            counts.pairs += pairs.drawn
            counts.identical += pairs.identical
            counts.repeated += pairs.repeated
    for question, _, _ in paired:
        counts, verdict = campaigns[question.campaign], judged.first.get(question.key)
        counts.set_aside += verdict is None
        counts.unsure += verdict is not None and not verdict.preferred
        counts.excluded += verdict is not None and verdict.prefers_unsafe
    chosen: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        counts = campaigns[str(record.meta["campaign"])]
        counts.records += 1
        counts.held_out += record.meta["part"] == HELD_OUT
        for way, better in ((record.meta["chosen_from"], 1), (record.meta["rejected_from"], 0)):
            chosen[way][0] += 1
            chosen[way][1] += better
    grades = Counter(record.grade for record in records)
    return CollectResult(
        annotator=annotator.title,
        records=len(records),
        answers=answers.drawn,
        unusable=answers.unusable,
        cut=answers.cut,
        mean_answer_tokens=answers.tokens / max(answers.drawn, 1),
        prompts_left_out=len(answers.left_out),
        campaigns={name: replace(counts) for name, counts in campaigns.items()},
        grades={grade: grades[grade] for grade in reversed(GRADES)},
        chosen={way: (counts[0], counts[1]) for way, counts in sorted(chosen.items())},
        people=dict(sorted(Counter(str(record.meta["annotator"]) for record in records).items())),
        agreement=_agreement(judged),
    )


def _agreement(judged: Judged) -> TwiceJudged:
    both: list[tuple[Verdict, Verdict]] = [
        (judged.first[key], second) for key, second in judged.second.items() if key in judged.first
    ]
    if not both:
        return TwiceJudged(pairs=0)
    choice = sum(one.preferred == other.preferred for one, other in both)
    grade = sum((one.preferred, one.grade) == (other.preferred, other.grade) for one, other in both)
    return TwiceJudged(pairs=len(both), same_choice=wilson(choice, len(both)), same_grade=wilson(grade, len(both)))
