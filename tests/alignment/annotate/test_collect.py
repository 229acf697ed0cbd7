"""Collecting: what is drawn, compared and written, and that an interruption costs no verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from alignment.annotate.collect import UNJUDGED_FILE, collect_preferences
from alignment.annotate.report import section
from alignment.annotate.result import CollectResult
from alignment.annotate.settings import CollectSettings
from alignment.data.corpus import load_preferences
from alignment.data.rows.written import RECORDS_FILE, read_records
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError, SettingError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Preference
from alignment.report.table import Table
from alignment.train.session import Session
from tests.alignment.annotate.conftest import Longer, asked

PROMPTS = [asked("who sells bread?", "helpfulness", 1), asked("how are you?", "safety", 2), asked("why?", line=3)]
HELD_OUT = [asked("and the flour?", "helpfulness", 4)]


def settings(**more: Any) -> CollectSettings:
    data = DataSettings(train=(SourceSettings(path="unread.jsonl"),))
    small = {"pairs_per_prompt": 4, "num_held_out": 5, "max_new_tokens": 6, "keep_cut": True}
    return CollectSettings(prompts=data, **{"temperatures": (0.7, 1.0), **small, **more})


def collect(policy: Policy, longer: Longer, session: Session, **more: Any) -> CollectResult:
    return collect_preferences({"sft": policy}, PROMPTS, longer, settings(**more), session, held_out=HELD_OUT)


def written(session: Session) -> list[Preference]:
    records = list(read_records(session.folder / RECORDS_FILE))
    assert all(isinstance(record, Preference) for record in records)
    return records  # type: ignore[return-value]


def test_the_records_are_what_was_preferred(policy: Policy, longer: Longer, session: Session) -> None:
    result = collect(policy, longer, session)
    records = written(session)
    assert result.records == len(records) > 8
    assert all(len(record.chosen) >= len(record.rejected) for record in records)
    assert {record.grade for record in records} == {"better"}
    assert {record.meta["chosen_from"] for record in records} <= {"sft at 0.7", "sft at 1"}
    assert all(record.meta["chosen_from"] != record.meta["rejected_from"] for record in records)


def test_every_pair_drawn_is_accounted_for(policy: Policy, longer: Longer, session: Session) -> None:
    result = collect(policy, longer, session)
    assert {name: counts.prompts for name, counts in result.campaigns.items()} == {"helpfulness": 3, "safety": 1}
    for counts in result.campaigns.values():
        gone = counts.identical + counts.repeated + counts.unsure + counts.excluded + counts.set_aside
        assert counts.pairs == gone + counts.records
    assert result.answers == 4 * 2 * 4
    assert sum(result.grades.values()) == result.records


def test_reward_models_read_them_by_campaign_and_part(policy: Policy, longer: Longer, session: Session) -> None:
    counts = collect(policy, longer, session).campaigns
    mine = SourceSettings(stage="stage", campaign="helpfulness")
    loaded = load_preferences(DataSettings(train=(mine,), held_out=(mine,)), stage_folder=lambda name: session.folder)
    assert len(loaded.held_out) == counts["helpfulness"].held_out > 0
    assert len(loaded.train) == counts["helpfulness"].records - counts["helpfulness"].held_out
    safety = DataSettings(train=(SourceSettings(stage="stage", campaign="safety"),))
    found = load_preferences(safety, stage_folder=lambda name: session.folder).train
    assert {record.meta["campaign"] for record in found} == {"safety"}


def test_the_watch_models_pairs_are_of_prompts_that_no_other_model_reads(
    policy: Policy, longer: Longer, session: Session
) -> None:
    asking = settings(num_prompts=1, num_watch=1)
    counts = collect_preferences({"sft": policy}, [PROMPTS[0], PROMPTS[2]], longer, asking, session).campaigns
    train = SourceSettings(stage="stage", campaign="helpfulness")
    watch = SourceSettings(stage="stage", campaign="helpfulness", part="watch")
    parts = [
        load_preferences(DataSettings(train=(source,)), stage_folder=lambda name: session.folder).train
        for source in (train, watch)
    ]
    asked_in = [{record.prompt.id for record in part} for part in parts]
    assert [len(ids) for ids in asked_in] == [1, 1]
    assert asked_in[0].isdisjoint(asked_in[1])
    assert counts["helpfulness"].watch == len(parts[1]) > 0


def test_prompts_that_leave_none_for_the_watch_model_are_refused(
    policy: Policy, longer: Longer, session: Session
) -> None:
    with pytest.raises(SettingError, match=r"num_watch: asks for 2 further helpfulness prompts, .* lower num_prompts"):
        collect(policy, longer, session, num_prompts=2, num_watch=2)


def test_a_second_call_asks_nothing_and_writes_the_same(policy: Policy, longer: Longer, session: Session) -> None:
    first = collect(policy, longer, session, judged_twice=0.5)
    whole = (session.folder / RECORDS_FILE).read_bytes()
    again = Longer()
    assert collect(policy, again, session, judged_twice=0.5) == first
    assert again.asked == []
    assert (session.folder / RECORDS_FILE).read_bytes() == whole


def test_answers_that_were_cut_are_in_no_pair_unless_they_are_kept(
    policy: Policy, longer: Longer, session: Session
) -> None:
    with pytest.raises(DataError, match=r"no preference came of 4 prompts: 3\d of 32 answers are cut, empty or marked"):
        collect(policy, longer, session, keep_cut=False, max_new_tokens=2)


def test_greedy_answers_of_one_policy_under_two_names_are_identical_and_never_asked(
    policy: Policy, longer: Longer, session: Session
) -> None:
    same = settings(temperatures=(0.0,), variants=("one", "two"), answers=1, pairs_per_prompt=1)
    with pytest.raises(DataError, match=r"3 pairs are identical"):
        collect_preferences({"one": policy, "two": policy}, PROMPTS, longer, same, session)
    assert longer.asked == []


def test_unsure_verdicts_are_counted_and_make_no_record(policy: Policy, session: Session) -> None:
    safety = collect(policy, Longer(unsure_of="safety"), session).campaigns["safety"]
    assert (safety.unsure, safety.records) == (4, 0)
    assert {record.meta["campaign"] for record in written(session)} == {"helpfulness"}


def test_agreement_is_measured_on_the_pairs_that_were_judged_twice(
    policy: Policy, longer: Longer, session: Session
) -> None:
    found = collect(policy, longer, session, judged_twice=1.0).agreement
    assert found.pairs == len({key for key, _ in longer.asked})
    assert found.same_choice is not None
    assert found.same_choice.value == 1.0


def test_prompts_are_a_fixed_draw_of_each_campaign(policy: Policy, longer: Longer, session: Session) -> None:
    many = [replace(asked("why?", "safety" if i % 2 else "helpfulness", i), id=f"p{i}") for i in range(12)]
    result = collect_preferences({"sft": policy}, many, longer, settings(num_prompts=2, num_safety_prompts=3), session)
    assert {name: counts.prompts for name, counts in result.campaigns.items()} == {"helpfulness": 2, "safety": 3}


def test_a_prompt_that_ends_with_an_answer_is_refused(policy: Policy, longer: Longer, session: Session) -> None:
    with pytest.raises(DataError, match="ends with an answer"):
        collect_preferences({"sft": policy}, [Dialogue.of("a", "b")], longer, settings(), session)


def test_where_all_is_judged_the_file_of_unjudged_pairs_is_empty(
    policy: Policy, longer: Longer, session: Session
) -> None:
    collect(policy, longer, session)
    assert (session.folder / UNJUDGED_FILE).read_bytes() == b""


def test_the_page_shows_every_pair_drawn_and_who_is_preferred(policy: Policy, longer: Longer, session: Session) -> None:
    result = collect(policy, longer, session, judged_twice=1.0).as_json()
    page = section(stage="collect", result=json.loads(json.dumps(result)))
    (campaigns, *_), (ways,) = page.details, page.blocks
    assert isinstance(campaigns, Table)
    assert isinstance(ways, Table)
    assert [row[0] for row in campaigns.rows] == ["helpfulness", "safety"]
    assert [row[0] for row in ways.rows] == ["sft at 0.7", "sft at 1"]
    assert page.summary == f"{result['records']:,} preferences by who likes length"


def test_a_later_versions_prompts_are_drawn_anew(policy: Policy, longer: Longer, session: Session) -> None:
    many = [asked(f"who sells bread {i}?", "helpfulness", i) for i in range(12)]
    asking = settings(num_prompts=4, num_held_out=0)

    def prompts(name: str) -> set[str]:
        own = Session(session.folder / (name or "first"))
        collect_preferences({"sft": policy}, many, longer, asking, own, name=name)
        return {record.prompt.id for record in written(own)}

    assert prompts("") != prompts("v2")


def test_what_earlier_versions_kept_for_the_watch_model_stays_with_it(
    policy: Policy, longer: Longer, session: Session
) -> None:
    many = [asked(f"who sells bread {i}?", "helpfulness", i) for i in range(8)]
    asking = settings(num_prompts=4, num_held_out=0, num_watch=4)
    first, second = Session(session.folder / "1"), Session(session.folder / "2")
    collect_preferences({"sft": policy}, many, longer, asking, first)
    collect_preferences({"sft": policy}, many, longer, asking, second, name="v2", earlier=written(first))
    parts = {
        (number, part): {r.prompt.id for r in written(own) if r.meta["part"] == part}
        for number, own in ((1, first), (2, second))
        for part in ("train", "watch")
    }
    assert parts[1, "watch"].isdisjoint(parts[2, "train"])
    assert parts[1, "train"].isdisjoint(parts[2, "watch"])
    assert parts[2, "train"]
    assert parts[2, "watch"]


def test_one_model_at_one_temperature_is_compared_with_itself(policy: Policy, longer: Longer, session: Session) -> None:
    collect(policy, longer, session, temperatures=(1.0,), answers=4)
    records = written(session)
    assert {record.meta["chosen_from"] for record in records} == {"sft at 1"}
    assert all(record.chosen != record.rejected for record in records)
