"""Collecting preferences (Llama 2 paper, 3.2.1): a policy's own answers in pairs, compared, as records to learn from.

1. every variant answers the prompts at every temperature;
2. answers of two variants are paired; what is the same is never asked;
3. an annotator compares each pair, a second one some of them;
4. what was preferred is written to `records.jsonl`, which reward models read as `{stage: collect}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from alignment.annotate.annotator import Annotator, Metered, Question
from alignment.annotate.answers import draw_answers
from alignment.annotate.counting import (
    HELD_OUT,
    TRAIN,
    WATCH,
    agreement_of,
    campaign_of,
    count_campaigns,
    count_grades,
    count_people,
    count_preferred,
)
from alignment.annotate.judging import Judged, judge_questions
from alignment.annotate.pairs import Drawn, draw_pairs
from alignment.annotate.probes import probe_questions, talked_into
from alignment.annotate.result import COLLECT_FILE, Asked, CollectResult
from alignment.annotate.settings import CollectSettings
from alignment.data.rows.quarantine import write_quarantine
from alignment.data.rows.written import RECORDS_FILE, read_records, write_records
from alignment.errors import DataError, SettingError
from alignment.generate.draw import JOURNALS
from alignment.given import given_prompts
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.records import Dialogue, Preference, Source
from alignment.store.atomic import write_json
from alignment.train.session import Session

SOURCE = "stage:collect"  # where the records say that they come from
UNJUDGED_FILE = "unjudged.jsonl"

_Paired = tuple[Question, Drawn, Drawn]


def collect_preferences(
    variants: Mapping[str, Policy | Callable[[], Policy]],
    prompts: Iterable[Dialogue],
    annotator: Annotator,
    settings: CollectSettings,
    session: Session,
    *,
    held_out: Iterable[Dialogue] = (),
    name: str = "",
    earlier: Sequence[Preference] = (),
) -> CollectResult:
    """Collect preferences and write them to `records.jsonl` in the session's folder.

    Args:
        variants: name -> policy, or what loads it; one is held at a time.
        prompts: training prompts; `meta["campaign"]` says whose guidelines hold ("helpfulness" where it says nothing).
        held_out: validation prompts, whose pairs measure what learns from the others'.
        name: names the draw of the prompts, so that each version of a run asks others; "" is the first's.
        earlier: what earlier versions collected: a prompt that they kept for the watch model stays with it, and one
            that the other models learnt from is never kept for it.

    Returns:
        The counts, which `collect.json` holds too.

    Raises:
        UsageError: what is given holds no dialogues.
        SettingError: no prompt is left for the watch model.
        Waiting: people have not compared all pairs yet; the same call goes on once they have.
        DataError: a prompt ends with an answer, three questions running got no verdict, or no preference came of it.
    """
    most = {"helpfulness": settings.num_prompts, "safety": settings.num_safety_prompts}
    kept = dict.fromkeys(most, settings.num_held_out)
    offered, validation = given_prompts(prompts, "prompts"), given_prompts(held_out, "held_out")
    seen = {part: {r.prompt.id for r in earlier if r.meta["part"] == part} for part in (TRAIN, WATCH)}
    train = _chosen([p for p in offered if p.id not in seen[WATCH]], most, session.seed, TRAIN, name)
    left = [prompt for prompt in offered if prompt.id not in seen[TRAIN]]
    given = {
        TRAIN: train,
        WATCH: _kept_for_watch(left, train, settings.num_watch, session.seed, name),
        HELD_OUT: _chosen(validation, kept, session.seed, HELD_OUT, name) if settings.num_held_out else [],
    }
    parts = {prompt.id: part for part, asked in given.items() for prompt in asked}
    asked = [*given[TRAIN], *given[WATCH], *given[HELD_OUT]]
    answers = draw_answers(variants, asked, settings, session)
    shown = [
        (prompt, draw_pairs(answers.usable[prompt.id], settings.pairs_per_prompt, seed=session.seed, prompt=prompt.id))
        for prompt in asked
        if prompt.id not in answers.left_out
    ]
    paired: list[_Paired] = [
        (Question(prompt=prompt, first=one.text, second=other.text, campaign=campaign_of(prompt)), one, other)
        for prompt, pairs in shown
        for one, other in pairs.asked
    ]
    questions = [question for question, _, _ in paired]
    journal = session.folder / JOURNALS / "verdicts.jsonl"
    probed = judge_questions(probe_questions(), annotator, session, journal) if isinstance(annotator, Metered) else None
    judged = judge_questions(questions, annotator, session, journal, twice=settings.judged_twice)
    records = _records(paired, judged, parts)
    write_quarantine(session.folder / UNJUDGED_FILE, judged.set_aside)
    if not any(record.meta["part"] == TRAIN for record in records):
        raise DataError(
            f"no preference came of {len(asked):,} prompts: {answers.unusable:,} of {answers.drawn:,} answers are cut, "
            f"empty or marked, {sum(pairs.identical for _, pairs in shown):,} pairs are identical and "
            f"{len(judged.set_aside):,} got no verdict; raise max_new_tokens or the temperatures"
        )
    result = CollectResult(
        annotator=annotator.title,
        records=len(records),
        answers=answers.drawn,
        unusable=answers.unusable,
        cut=answers.cut,
        mean_answer_tokens=answers.tokens / answers.drawn,
        prompts_left_out=len(answers.left_out),
        campaigns=count_campaigns(shown, questions, judged, records),
        grades=count_grades(records),
        chosen=count_preferred(records),
        people=count_people(records),
        agreement=agreement_of(judged),
        asked=None if probed is None else _asked(probed, judged),
    )
    write_json(session.folder / COLLECT_FILE, result.as_json())
    write_records(session.folder / RECORDS_FILE, records)
    return result


def read_collected(folder: Path) -> list[Preference]:
    """What an earlier collection wrote, from its stage's folder."""
    return [record for record in read_records(folder / RECORDS_FILE) if isinstance(record, Preference)]


def _asked(probed: Judged, judged: Judged) -> Asked:
    """What an outside model cost (the journal holds its probes too) and obeyed."""
    return Asked(
        spent=judged.spent,
        probes=len(probed.first) + len(probed.set_aside),
        followed=talked_into(probed.first),
        without_verdict=len(probed.set_aside),
    )


def _chosen(prompts: Sequence[Dialogue], counts: Mapping[str, int], seed: int, part: str, name: str) -> list[Dialogue]:
    """So many prompts of each campaign, a fixed draw; 0 takes all."""
    names = ("collect-prompts", *filter(None, (name,)), part)
    found: list[Dialogue] = []
    for campaign, count in counts.items():
        own = [prompt for prompt in prompts if campaign_of(prompt) == campaign]
        if count and count < len(own):
            picked = named_generator(seed, *names, campaign).choice(len(own), count, replace=False)
            own = [own[i] for i in sorted(picked.tolist())]
        found += own
    return found


def _kept_for_watch(
    offered: Sequence[Dialogue], taken: Sequence[Dialogue], count: int, seed: int, name: str
) -> list[Dialogue]:
    """So many further prompts of each campaign that is asked.

    Raises:
        SettingError: the training prompts leave none.
    """
    if not count:
        return []
    ids = {prompt.id for prompt in taken}
    left = [prompt for prompt in offered if prompt.id not in ids]
    for campaign in dict.fromkeys(campaign_of(prompt) for prompt in taken):
        if not any(campaign_of(prompt) == campaign for prompt in left):
            key = "num_prompts" if campaign == "helpfulness" else "num_safety_prompts"
            raise SettingError(
                "num_watch",
                f"asks for {count:,} further {campaign} prompts, and the {len(ids):,} training prompts are all there "
                f"are; lower {key}",
            )
    return _chosen(left, {"helpfulness": count, "safety": count}, seed, WATCH, name)


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
