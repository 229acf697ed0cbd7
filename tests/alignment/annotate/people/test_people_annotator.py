"""People as annotators: the stage waits, goes on with what came, and shows them nothing of who wrote what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.annotator import InTheirOwnTime
from alignment.annotate.collect import collect_preferences
from alignment.annotate.people.annotator import PeopleAnnotator
from alignment.annotate.people.items import ITEMS_FILE, Item, item_of, read_items, write_items
from alignment.annotate.people.verdicts import FOLDER, VerdictFile
from alignment.annotate.result import COLLECT_FILE
from alignment.annotate.town import TownAnnotators
from alignment.data.rows.written import RECORDS_FILE, read_records
from alignment.errors import CheckpointError, Waiting
from alignment.generate.draw import JOURNALS
from alignment.policy.policy import Policy
from alignment.records import Preference
from alignment.train.session import Session
from tests.alignment.annotate.people.conftest import items, questions, verdict
from tests.alignment.annotate.test_collect import PROMPTS, settings

HERE = "align annotate runs/x"


def people(session: Session) -> PeopleAnnotator:
    return PeopleAnnotator(session, ask=HERE)


def answered(session: Session, name: str = "anna", preferred: int = 1, *, some: int = -1) -> None:
    """Somebody judges the items that wait, or the first of them."""
    waiting = read_items(session.folder / ITEMS_FILE)[: some if some >= 0 else None]
    with VerdictFile(session.folder, name, read_items(session.folder / ITEMS_FILE)) as file:
        file.add({item.id: verdict(item, preferred, name=name) for item in waiting})


def collect(policy: Policy, session: Session, **more: Any) -> Any:
    return collect_preferences({"sft": policy}, PROMPTS, people(session), settings(**more), session)


def test_the_stage_waits_until_every_item_has_a_verdict_and_then_goes_on(policy: Policy, session: Session) -> None:
    with pytest.raises(Waiting, match=r"(\d+) of \1 items wait for people's verdicts: `align annotate runs/x` asks"):
        collect(policy, session)
    answered(session, some=1)
    with pytest.raises(Waiting):
        collect(policy, session)
    answered(session)
    result = collect(policy, session)
    waited = read_items(session.folder / ITEMS_FILE)
    assert result.records == len(waited) > 4
    assert result.annotator == "people (anna)"
    assert (session.folder / COLLECT_FILE).is_file()


def test_records_are_what_people_preferred_and_name_them(policy: Policy, session: Session) -> None:
    with pytest.raises(Waiting):
        collect(policy, session)
    answered(session, preferred=-1)
    collect(policy, session)
    records = [record for record in read_records(session.folder / RECORDS_FILE) if isinstance(record, Preference)]
    preferred = {(item.second, item.first) for item in read_items(session.folder / ITEMS_FILE)}
    assert {(record.chosen, record.rejected) for record in records} == preferred
    assert {record.meta["annotator"] for record in records} == {"anna"}


def test_items_name_neither_model_nor_temperature(policy: Policy, session: Session) -> None:
    with pytest.raises(Waiting):
        collect(policy, session)
    written = (session.folder / ITEMS_FILE).read_text(encoding="utf-8")
    assert "sft" not in written
    assert "0.7" not in written
    assert set(items()[0].as_json()) == {"id", "campaign", "prompt", "first", "second"}


def test_no_answer_is_drawn_again_and_no_item_changes_while_the_stage_waits(policy: Policy, session: Session) -> None:
    kept = []
    for _ in range(2):
        with pytest.raises(Waiting):
            collect(policy, session)
        kept.append({path.name: path.read_bytes() for path in session.folder.rglob("*.jsonl")})
    assert kept[0] == kept[1]


def test_another_runs_items_have_other_ids() -> None:
    assert {item.id for item in items("run-a")}.isdisjoint(item.id for item in items("run-b"))


def test_an_item_shows_a_system_message_and_every_turn(session: Session) -> None:
    question = questions()[0]
    prompt = type(question.prompt).of("hello", "hi", "who?", system="be short")
    item = item_of(type(question)(prompt=prompt, first="a", second="b", campaign="helpfulness"), "s")
    assert item.prompt == (("system", "be short"), ("user", "hello"), ("assistant", "hi"), ("user", "who?"))


def handed_out(session: Session, votes: Mapping[str, int]) -> PeopleAnnotator:
    """Five items on which each of several people says the same."""
    found = people(session)
    with pytest.raises(Waiting):
        found.hand_out(questions(), questions())
    for name, preferred in votes.items():
        answered(session, name, preferred)
    assert found.hand_out(questions(), []) == (questions() if len(votes) > 1 else [])
    return found


def test_of_several_people_the_majority_counts_with_the_whole_verdict_of_one_of_them(session: Session) -> None:
    found = handed_out(session, {"anna": 1, "ben": -1, "carl": -1})
    counted = [found.compare(question, 0) for question in questions()]
    assert {verdict.preferred for verdict in counted} == {-1}
    assert {verdict.annotator for verdict in counted} <= {"ben", "carl"}
    assert found.title == "people (anna, ben, carl)"


def test_where_two_disagree_an_items_own_draw_decides_and_no_name_is_favoured(session: Session) -> None:
    found = handed_out(session, {"anna": 1, "ben": -1})
    counted = {found.compare(question, 0).annotator for question in questions()}
    assert counted == {"anna", "ben"}
    for question in questions():
        assert {found.compare(question, turn).annotator for turn in (0, 1)} == {"anna", "ben"}


def test_one_person_is_enough_whatever_share_should_be_judged_twice(policy: Policy, session: Session) -> None:
    with pytest.raises(Waiting):
        collect(policy, session, judged_twice=1.0)
    assert all(item.twice for item in read_items(session.folder / ITEMS_FILE))
    answered(session)
    assert collect(policy, session, judged_twice=1.0).agreement.pairs == 0


def test_agreement_is_counted_over_what_two_people_judged(policy: Policy, session: Session) -> None:
    with pytest.raises(Waiting):
        collect(policy, session)
    answered(session)
    answered(session, "ben", some=3)
    agreement = collect(policy, session).agreement
    assert agreement.pairs == 3
    assert agreement.same_choice.value == 1.0


def test_only_people_are_handed_questions_beforehand(session: Session) -> None:
    assert isinstance(people(session), InTheirOwnTime)
    assert not hasattr(TownAnnotators, "hand_out")


def test_verdicts_stand_with_the_journals_that_no_result_rests_on() -> None:
    assert FOLDER[0] == JOURNALS


@pytest.mark.parametrize("change", ["answer", "seal"])
def test_items_that_were_altered_are_refused_with_their_line(change: str, tmp_path: Path) -> None:
    path = tmp_path / ITEMS_FILE
    write_items(path, items())
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[1] = lines[1].replace("two", "2") if change == "answer" else '{"id": "x", "prompt": []}\n'
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"items.jsonl:2 is not as it was written"):
        read_items(path)


def test_items_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / ITEMS_FILE
    odd = Item(id="x", campaign="safety", prompt=(("user", "a\u2028b\n\ud83d"),), first="<b>", second="", twice=True)
    write_items(path, [*items(), odd])
    assert read_items(path) == [*items(), odd]
