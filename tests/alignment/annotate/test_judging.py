"""Questions put to an annotator: each asked once, what fails is set aside, three failures running end it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.annotate.judging import Judged, judge_questions
from alignment.errors import CheckpointError, DataError
from alignment.store.journal import Journal, read_journal
from alignment.train.session import Session
from tests.alignment.annotate.conftest import Longer, question


def judge(longer: Longer, session: Session, *pairs: tuple[str, str], twice: float = 0.0) -> Judged:
    asked = [question(*pair) for pair in pairs]
    return judge_questions(asked, longer, session, journal_of(session), twice=twice)


def journal_of(session: Session) -> Path:
    return session.folder / "samples" / "verdicts.jsonl"


def test_identical_answers_are_no_question() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        question("same", "same")


def test_every_verdict_is_a_line_of_the_journal_and_asked_for_once(longer: Longer, session: Session) -> None:
    first = judge(longer, session, ("a", "bb"), ("ccc", "d"))
    assert [verdict.preferred for verdict in first.first.values()] == [-1, 1]
    assert len(read_journal(journal_of(session))) == 2
    again = Longer()
    assert judge(again, session, ("a", "bb"), ("ccc", "d"), ("e", "ff")).first.keys() > first.first.keys()
    assert again.asked == [(question("e", "ff").key, 0)]


def test_what_gets_no_verdict_is_set_aside_and_asked_again_when_the_stage_goes_on(
    longer: Longer, session: Session
) -> None:
    for _ in range(2):
        found = judge(longer, session, ("a", "silence"), ("b", "cc"))
        assert [entry.detail for entry in found.set_aside] == ["there was no answer"]
        assert list(found.first) == [question("b", "cc").key]
    assert [key for key, _ in longer.asked].count(question("a", "silence").key) == 2


def test_the_third_failure_running_ends_it_and_what_was_said_is_kept(longer: Longer, session: Session) -> None:
    silent = [(text, "silence") for text in "abc"]
    with pytest.raises(DataError, match=r"there was no answer; .*third question running.* \(1 verdicts are kept"):
        judge(longer, session, ("a", "bb"), *silent, ("c", "dd"))
    assert len(read_journal(journal_of(session))) == 1


def test_failures_with_verdicts_between_them_end_nothing(longer: Longer, session: Session) -> None:
    pairs = [(text, other) for text in "abcd" for other in ("silence", "xx")]
    assert len(judge(longer, session, *pairs).set_aside) == 4


def test_a_share_is_asked_a_second_time(longer: Longer, session: Session) -> None:
    pairs = [(f"{i}", "x" * 3) for i in range(40)]
    assert len(judge(longer, session, *pairs, twice=0.25).second) in range(4, 17)
    assert {turn for _, turn in longer.asked} == {0, 1}


def test_a_journal_of_something_else_is_refused_with_its_line(longer: Longer, session: Session) -> None:
    journal_of(session).parent.mkdir()
    with Journal(journal_of(session)) as journal:
        journal.append({"question": "k", "turn": 0, "preferred": 1, "grade": "enormously"})
    with pytest.raises(CheckpointError, match=r"verdicts\.jsonl:1 is no verdict"):
        judge(longer, session, ("a", "b"))
