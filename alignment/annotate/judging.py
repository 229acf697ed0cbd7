"""Questions put to an annotator: a journal with a verdict a line, failures set aside, nothing made up.  No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignment.annotate.annotator import Annotator, InTheirOwnTime, Question, Verdict
from alignment.data.rows.quarantine import BadRow
from alignment.errors import CheckpointError, DataError
from alignment.randomness import named_seed
from alignment.records import GRADES
from alignment.store.journal import Journal
from alignment.train.session import Session

MOST_FAILURES = 3  # one after another: then the annotator is gone, not one reply unreadable


@dataclass(kw_only=True)
class Judged:
    """What was said of the questions.

    Attributes:
        first: question's key -> its verdict; a question without one is not in it.
        second: of those that were asked a second time.
        set_aside: the questions that got no verdict, with the reason.
    """

    first: dict[str, Verdict] = field(default_factory=dict)
    second: dict[str, Verdict] = field(default_factory=dict)
    set_aside: list[BadRow] = field(default_factory=list)


def judge_questions(
    questions: Sequence[Question], annotator: Annotator, session: Session, journal_path: Path, *, twice: float = 0.0
) -> Judged:
    """Ask for what the journal does not hold yet.

    Args:
        twice: the share of questions that are asked a second time, by a draw of their own.

    Raises:
        Waiting: people have not answered all of them yet.
        DataError: three questions running got no verdict; those before them stay in the journal.
        Interrupted: somebody asked to stop.
        CheckpointError: the journal holds no verdicts.
    """
    journal_path.parent.mkdir(parents=True, exist_ok=True)
    found = Judged()
    again: Sequence[Question] = [
        question for question in questions if named_seed(session.seed, "judged-twice", question.key) < twice * 2**63
    ]
    if isinstance(annotator, InTheirOwnTime):
        again = annotator.hand_out(questions, again)
    turns = [(found.first, 0, question) for question in questions]
    turns += [(found.second, 1, question) for question in again]
    session.progress.begin(len(turns), "verdicts")
    failures = 0
    with Journal(journal_path) as journal:
        known = _known(journal.records, journal_path)
        for done, (into, turn, question) in enumerate(turns, start=1):
            if (question.key, turn) not in known:
                session.stop.check()
                try:
                    verdict = annotator.compare(question, turn)
                except DataError as error:
                    failures += 1
                    if failures == MOST_FAILURES:
                        raise DataError(
                            f"{error}; that was the third question running without a verdict ({len(known):,} verdicts "
                            f"are kept, and the stage goes on from them)"
                        ) from error
                    if turn == 0:
                        found.set_aside.append(_entry(question, error))
                    continue
                failures = 0
                known[question.key, turn] = verdict
                row = {"question": question.key, "turn": turn, **asdict(verdict)}
                journal.append(row, flush=annotator.paid)
            into[question.key] = known[question.key, turn]
            session.progress.step(done, {})
    session.progress.end()
    if found.set_aside:
        session.progress.note(f"{len(found.set_aside):,} of {len(questions):,} pairs got no verdict and are set aside")
    return found


def _entry(question: Question, error: DataError) -> BadRow:
    source = question.prompt.source
    return BadRow(
        file=source.file,
        line=source.line,
        reason="no verdict",
        detail=str(error),
        excerpt=f"{question.first} | {question.second}",
    )


def _known(records: Sequence[Mapping[str, Any]], path: Path) -> dict[tuple[str, int], Verdict]:
    known = {}
    for line, record in enumerate(records, start=1):
        labels = (record.get("first_safe"), record.get("second_safe"))
        sure = record.get("preferred") in (1, -1) and record.get("grade") in GRADES
        unsure = record.get("preferred") == 0 and record.get("grade") is None
        if not (sure or unsure) or any(label not in (True, False, None) for label in labels):
            raise CheckpointError(
                f"{path}:{line} is no verdict; move the journal away, and the questions are asked anew"
            )
        values = {name: record[name] for name in Verdict.__dataclass_fields__ if name in record}
        known[str(record.get("question")), int(record.get("turn", 0))] = Verdict(**values)
    return known
