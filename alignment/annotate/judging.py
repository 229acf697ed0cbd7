"""Questions put to an annotator: a journal with a verdict a line, failures set aside, nothing made up.  No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignment.annotate.annotator import Annotator, InTheirOwnTime, Metered, Question, Verdict
from alignment.data.rows.quarantine import BadRow
from alignment.errors import CheckpointError, DataError, Unreachable
from alignment.evaluate.spent import Spent, read_spent
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
        spent: what the journal's verdicts cost, and what failed since; nothing where none is paid for.
    """

    first: dict[str, Verdict] = field(default_factory=dict)
    second: dict[str, Verdict] = field(default_factory=dict)
    set_aside: list[BadRow] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)


def judge_questions(
    questions: Sequence[Question], annotator: Annotator, session: Session, journal_path: Path, *, twice: float = 0.0
) -> Judged:
    """Ask for what the journal does not hold yet.

    Args:
        twice: the share of questions that are asked a second time, by a draw of their own.

    Raises:
        Waiting: people have not answered all of them yet.
        DataError: three questions running got no verdict (Unreachable: since nobody answers); those before them stay
            in the journal.
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
    failures, paid = 0, spent_by(annotator)  # what is paid for and in no line yet goes into the next one
    with Journal(journal_path) as journal:
        known = _known(journal.records, journal_path)
        found.spent = sum((read_spent(record.get("spent")) for record in journal.records), Spent())
        for done, (into, turn, question) in enumerate(turns, start=1):
            if (question.key, turn) not in known:
                session.stop.check()
                try:
                    verdict = annotator.compare(question, turn)
                except DataError as error:
                    failures += 1
                    if failures == MOST_FAILURES:
                        gone = Unreachable if isinstance(error, Unreachable) else DataError
                        raise gone(
                            f"{error}; that was the third question running without a verdict ({len(known):,} verdicts "
                            f"are kept, and the stage goes on from them)"
                        ) from error
                    if turn == 0:
                        found.set_aside.append(_entry(question, error))
                    continue
                failures = 0
                known[question.key, turn] = verdict
                row = {"question": question.key, "turn": turn, **asdict(verdict)}
                if isinstance(annotator, Metered):
                    row["spent"] = asdict(annotator.spent - paid)
                    found.spent, paid = found.spent + (annotator.spent - paid), annotator.spent
                journal.append(row, flush=annotator.paid)
            into[question.key] = known[question.key, turn]
            session.progress.step(done, {})
    session.progress.end()
    found.spent += spent_by(annotator) - paid
    if found.set_aside:
        session.progress.note(f"{len(found.set_aside):,} of {len(questions):,} pairs got no verdict and are set aside")
    return found


def spent_by(annotator: Annotator) -> Spent:
    """What an annotator's verdicts cost in this process; nothing where they cost nothing."""
    return annotator.spent if isinstance(annotator, Metered) else Spent()


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
