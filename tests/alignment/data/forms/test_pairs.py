"""Rows into preferences, form by form: the prompt ends with the user, the better answer is named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.data.forms.columns import Reading, RowFault, SkippedRow
from alignment.data.forms.grading import grade_distance, grade_scores, grade_votes, grade_word, tier_on
from alignment.data.forms.readers import READERS
from alignment.data.rows.json_lines import RawRow
from alignment.data.settings import ALPACAEVAL_LADDER, GradeSettings, SourceSettings
from alignment.records import GRADES, LabelledAnswer, Preference, Source


def read_all(form: str, value: dict[str, Any], *, seed: int = 0, **settings: Any) -> list[Any]:
    source = SourceSettings(path="rows.jsonl", form=form, **settings)
    row = RawRow(source=Source(file="rows.jsonl", line=3), value=value)
    return list(READERS[source.form](row, Reading(source, seed=seed)))


def read(form: str, value: dict[str, Any], **settings: Any) -> Preference:
    (record,) = read_all(form, value, **settings)
    assert isinstance(record, Preference)
    return record


def prompt_of(pair: Preference) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in pair.prompt.turns]


TALK = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"


def test_an_hh_pair_shares_everything_but_the_last_answer() -> None:
    pair = read("hh", {"chosen": f"{TALK}\n\nAssistant: good", "rejected": f"{TALK}\n\nAssistant: bad"})
    assert prompt_of(pair) == [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert (pair.chosen, pair.rejected) == ("good", "bad")
    assert (pair.grade, pair.chosen_safe, pair.rejected_safe) == (None, None, None)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (f"{TALK}\n\nAssistant: x", f"{TALK}!\n\nAssistant: y", "the prompts of chosen and rejected differ"),
        (
            f"{TALK}\n\nAssistant: x",
            "\n\nHuman: a\n\nAssistant: y",
            "the prompts of chosen and rejected differ",
        ),
        (f"{TALK}\n\nAssistant: x", f"{TALK}\n\nAssistant: x", "chosen and rejected are equal"),
        (f"{TALK}\n\nAssistant: x", f"{TALK}\n\nAssistant: ", "an empty message"),
        (TALK, TALK, "a transcript that does not end with the assistant"),
        ("plain text", "other text", "not an HH transcript"),
        (f"{TALK}\n\nAssistant: [INST] x", f"{TALK}\n\nAssistant: y", "a control token in a message"),
        ("\n\nAssistant: x", "\n\nAssistant: y", "a dialogue without turns"),
    ],
)
def test_an_hh_pair_that_is_no_pair_is_set_aside(chosen: str, rejected: str, reason: str) -> None:
    with pytest.raises(RowFault) as fault:
        read("hh", {"chosen": chosen, "rejected": rejected})
    assert fault.value.reason == reason


USER, GOOD, BAD = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "good"},
    {"role": "assistant", "content": "bad"},
)


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "a", "chosen": "good", "rejected": "bad"},
        {"instruction": "a", "input": "", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": GOOD, "rejected": BAD},
        {"prompt": "a", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {
            "conversations": [{"from": "human", "value": "a"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
    ],
    ids=["texts", "alpaca", "lists", "messages", "whole beside prompt", "whole", "sharegpt"],
)
def test_a_pair_of_messages_may_be_written_in_many_ways(value: dict[str, Any]) -> None:
    pair = read("pair_messages", value)
    assert (prompt_of(pair), pair.chosen, pair.rejected) == ([("user", "a")], "good", "bad")


def test_a_pair_may_carry_a_grade_and_safety_labels() -> None:
    value = {"prompt": "a", "chosen": "good", "rejected": "bad", "grade": "Slightly better"}
    pair = read("pair_messages", {**value, "chosen_safe": True, "rejected_safe": "unsafe"})
    assert (pair.grade, pair.chosen_safe, pair.rejected_safe) == ("slightly", True, False)


@pytest.mark.parametrize(
    ("field", "wrong", "reason"),
    [
        ("grade", "hugely", "a grade outside its scale"),
        ("grade", 4, "a grade outside its scale"),
        ("grade", True, "a grade outside its scale"),
        ("chosen_safe", "maybe", "a label outside its scale"),
    ],
)
def test_a_grade_or_label_outside_its_scale_is_set_aside(field: str, wrong: object, reason: str) -> None:
    with pytest.raises(RowFault) as fault:
        read("pair_messages", {"prompt": "a", "chosen": "good", "rejected": "bad", field: wrong})
    assert fault.value.reason == reason


def test_a_files_own_grades_are_mapped_by_the_recipe() -> None:
    grades = GradeSettings(words={"1": "slightly", "2": "better", "3": "significantly"})
    assert [grade_word(value, grades) for value in (1, 2.0, "3")] == ["slightly", "better", "significantly"]


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([1, 1, 1], (1, "significantly")),
        ([2, 0, 2], (2, "better")),
        ([1, 2, 1], (1, "slightly")),
        ([0, 0, 2], (2, "negligibly")),
        ([1], (1, "significantly")),
        ([1, 1, 1, 1, 2], (1, "slightly")),
        ([1, 1, 1, 1, 0], (1, "better")),
    ],
)
def test_votes_become_a_grade_by_agreement(votes: list[float], verdict: tuple[int, str]) -> None:
    assert grade_votes(votes) == verdict


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=9))
def test_swapping_the_two_answers_swaps_the_verdict_and_keeps_the_grade(votes: list[int]) -> None:
    swapped = [{0: 0, 1: 2, 2: 1}[vote] for vote in votes]
    try:
        better, grade = grade_votes(votes)
    except SkippedRow:
        with pytest.raises(SkippedRow):
            grade_votes(swapped)
    else:
        assert grade_votes(swapped) == (3 - better, grade)


OUTPUTS = {"instruction": "a", "output_1": "x", "output_2": "y"}


def test_annotators_decide_between_two_outputs() -> None:
    columns = {"annotator_1": "n1", "annotator_2": "n2", "annotator_3": "n3"}
    pair = read("two_outputs", {**OUTPUTS, "n1": 2, "n2": 2, "n3": 0}, columns=columns)
    assert (pair.chosen, pair.rejected, pair.grade) == ("y", "x", "better")
    with pytest.raises(SkippedRow, match="tie"):
        read("two_outputs", {**OUTPUTS, "n1": 0, "n2": 1, "n3": 2}, columns=columns)
    with pytest.raises(RowFault, match="outside its scale"):
        read("two_outputs", {**OUTPUTS, "n1": 3, "n2": 1, "n3": 2}, columns=columns)


def test_annotators_are_found_by_their_own_names_or_in_one_list_of_votes() -> None:
    named = read("two_outputs", {**OUTPUTS, "annotator_1": 1, "annotator_2": 1, "annotator_3": 2})
    listed = read("two_outputs", {**OUTPUTS, "votes": [1, 1, 2]})
    assert (named.chosen, named.grade) == (listed.chosen, listed.grade) == ("x", "slightly")
    assert read("two_outputs", {**OUTPUTS, "votes": [2, 2, 2, 2]}).grade == "significantly"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {},
            r"a missing verdict \(right are annotator_1, annotator_2, … or votes .* score_1 and score_2, or preferred",
        ),
        ({"score_2": 3}, r"a missing field \(score_1\)"),
        ({"score_1": 3}, r"a missing field \(score_2\)"),
        ({"votes": []}, r"votes is a list, a list of votes was expected"),
        ({"votes": 1}, r"votes is a number, a list of votes was expected"),
        ({"votes": [1, "first"]}, r"vote 2 is 'first', a number was expected"),
        ({"votes": [1, 5]}, r"vote 5; right are 0 \(tie\), 1 and 2"),
    ],
)
def test_a_row_of_two_outputs_that_lacks_its_verdict_is_told_what_it_lacks(value: dict[str, Any], told: str) -> None:
    with pytest.raises(RowFault, match=told):
        read("two_outputs", {**OUTPUTS, **value})


SCORED = {"prompt": "a", "chosen": "x", "rejected": "y"}


def test_a_score_for_each_of_two_answers_grades_the_pair_by_the_gap() -> None:
    columns = {"chosen_score": "score_chosen", "rejected_score": "score_rejected"}
    value = {**SCORED, "score_chosen": 8.5, "score_rejected": 6}
    assert read("pair_messages", value, columns=columns, grades={"gaps": (1, 2, 3)}).grade == "better"
    assert read("pair_messages", value, columns=columns).grade is None
    own = {**value, "grade": "slightly"}  # the row's own grade stands
    assert read("pair_messages", own, columns=columns, grades={"gaps": (1, 2, 3)}).grade == "slightly"


def test_scores_that_contradict_the_pair_tie_or_are_not_both_there_make_no_pair() -> None:
    with pytest.raises(RowFault, match=r"the rejected answer has the higher score \(chosen 3, rejected 5\)"):
        read("pair_messages", {**SCORED, "chosen_score": 3, "rejected_score": 5})
    with pytest.raises(SkippedRow, match="tie"):
        read("pair_messages", {**SCORED, "chosen_score": 3, "rejected_score": 3})
    with pytest.raises(RowFault, match=r"a missing field \(rejected_score\)"):
        read("pair_messages", {**SCORED, "chosen_score": 3})


def test_pairs_that_stay_ungraded_for_want_of_gaps_are_counted() -> None:
    reading = Reading(SourceSettings(path="rows.jsonl", form="two_outputs"), seed=0)
    row = RawRow(source=Source(file="rows.jsonl", line=3), value={**OUTPUTS, "score_1": 1, "score_2": 3})
    assert len(READERS["two_outputs"](row, reading)) == 1
    assert dict(reading.notes) == {"pairs of two scores left ungraded: grades.gaps is not given": 1}


def test_two_scores_are_graded_by_the_recipes_gaps() -> None:
    def grade(first: float, second: float) -> str | None:
        value = {**OUTPUTS, "score_1": first, "score_2": second}
        return read("two_outputs", value, grades={"gaps": (1, 2, 3), "tie_gap": 0.25}).grade

    assert [grade(gap, 0) for gap in (0.5, 1, 2, 3)] == list(GRADES)
    with pytest.raises(SkippedRow, match="tie"):
        grade(0.25, 0)


def test_scores_without_gaps_leave_a_pair_ungraded() -> None:
    assert grade_scores(0.0, 2.0, GradeSettings()) == (2, None)


def test_preferred_says_which_output_is_better() -> None:
    assert read("two_outputs", {**OUTPUTS, "preferred": 2}).chosen == "y"
    assert read("two_outputs", {**OUTPUTS, "preferred": "1", "grade": "better"}).grade == "better"


def test_a_ranked_list_gives_pairs_graded_by_rank_distance() -> None:
    value = {"instruction": "a", "output": ["w", "x", "y", "z"]}
    pairs = read_all("ranked", value, pairs_per_row=10)
    assert {(p.chosen, p.rejected): p.grade for p in pairs} == {
        ("w", "x"): "slightly",
        ("x", "y"): "slightly",
        ("y", "z"): "slightly",
        ("w", "y"): "better",
        ("x", "z"): "better",
        ("w", "z"): "significantly",
    }
    assert len(read_all("ranked", value, pairs_per_row=2)) == 2


DAVINCI, TURBO = (rung.column for rung in ALPACAEVAL_LADDER[:2])


@pytest.mark.parametrize(
    ("scores", "tier"),
    [
        ({DAVINCI: 1.0, TURBO: 1.0}, 0),
        ({DAVINCI: 1.5, TURBO: 1.0}, 0),
        ({DAVINCI: 2.0, TURBO: 1.0}, 1),
        ({DAVINCI: 2.0, TURBO: 1.25}, 2),
        ({DAVINCI: 2.0, TURBO: 1.75}, 2),
        ({DAVINCI: 2.0, TURBO: 1.76}, 3),
        ({TURBO: 2.0}, 3),
        ({TURBO: 1.5}, 2),
        ({DAVINCI: 1.0}, 0),
        ({DAVINCI: 2.0}, None),
        ({TURBO: 1.0}, None),
        ({}, None),
    ],
)
def test_an_answers_tier_is_its_highest_rung_and_never_a_guess(scores: dict[str, float], tier: int | None) -> None:
    assert tier_on(ALPACAEVAL_LADDER, scores.get) == tier


def graded(*answers: tuple[str, str, float]) -> dict[str, Any]:
    return {
        "instruction": "a",
        "baselines": {"text_davinci_003": "the baseline"},
        "responses": [
            {
                "generator": who,
                "output": text,
                DAVINCI: 2.0 if tier else 1.0,
                TURBO: 1.0 + tier / 4 - 0.25 * (tier == 1),
            }
            for who, text, tier in answers
        ],
    }


def test_graded_answers_pair_generators_by_tier_distance_and_never_with_a_baseline() -> None:
    pairs = read_all("graded_answers", graded(("A", "best", 4), ("B", "middle", 1), ("C", "worst", 0)))
    assert {(p.chosen, p.rejected): p.grade for p in pairs} == {
        ("best", "middle"): "better",
        ("best", "worst"): "significantly",
        ("middle", "worst"): "slightly",
    }
    assert pairs[0].meta["chosen_generator"] == "A"


def test_answers_of_one_generator_or_one_tier_make_no_pair() -> None:
    with pytest.raises(SkippedRow):
        read_all("graded_answers", graded(("A", "x", 4), ("A", "y", 0)))
    with pytest.raises(SkippedRow):
        read_all("graded_answers", graded(("A", "x", 1), ("B", "y", 1)))


MANY = graded(*[(f"G{n}", "x" * (5 + 7 * n % 23) + str(n), (0, 1, 2, 4)[n % 4]) for n in range(16)])


def test_the_pairs_of_a_row_are_few_repeatable_and_spread_over_the_generators() -> None:
    pairs = read_all("graded_answers", MANY, pairs_per_row=8)
    assert len(pairs) == 8
    assert pairs == read_all("graded_answers", MANY, pairs_per_row=8)
    assert pairs != read_all("graded_answers", MANY, pairs_per_row=8, seed=1)
    owners = [p.meta[key] for p in pairs for key in ("chosen_generator", "rejected_generator")]
    assert max(owners.count(owner) for owner in owners) <= 2


def test_length_does_not_tell_the_better_answer_where_the_row_allows() -> None:
    pairs = read_all("graded_answers", MANY, pairs_per_row=8)
    longer = sum(len(p.chosen) > len(p.rejected) for p in pairs)
    shorter = sum(len(p.chosen) < len(p.rejected) for p in pairs)
    assert abs(longer - shorter) <= 1


def test_an_answer_that_cannot_be_used_is_passed_over_and_counted() -> None:
    value = graded(("A", "best", 4), ("B", "", 1), ("C", "<s>", 1), ("D", "worst", 0))
    source = SourceSettings(path="rows.jsonl", form="graded_answers")
    reading = Reading(source, seed=0)
    row = RawRow(source=Source(file="rows.jsonl", line=3), value=value)
    assert len(READERS["graded_answers"](row, reading)) == 1
    assert dict(reading.notes) == {
        "answers passed over: an empty message": 1,
        "answers passed over: a control token in a message": 1,
    }


def test_answers_may_say_their_tier_themselves() -> None:
    answers = [("A", "x", 5), ("B", "y", 4), ("C", "z", 1)]
    value = {"instruction": "a", "responses": [{"generator": g, "output": o, "level": t} for g, o, t in answers]}
    pairs = read_all("graded_answers", value, columns={"tier": "level"})
    assert {(p.chosen, p.rejected): p.grade for p in pairs} == {
        ("x", "y"): "slightly",
        ("x", "z"): "significantly",
        ("y", "z"): "significantly",
    }
    assert len(read_all("graded_answers", value, columns={"tier": "level"}, pairs_per_row=1)) == 1


def test_a_tier_is_a_whole_number_and_an_answer_without_one_is_passed_over() -> None:
    responses = [{"generator": "A", "output": "x", "tier": 2.5}, {"generator": "B", "output": "y", "tier": 1}]
    with pytest.raises(RowFault, match=r"tier of response 1 is 2.5, a whole number"):
        read_all("graded_answers", {"instruction": "a", "responses": responses})
    reading = Reading(SourceSettings(path="rows.jsonl", form="graded_answers", columns={"tier": "level"}), seed=0)
    lacking = [{"generator": g, "output": g, **({"level": n} if n else {})} for g, n in (("A", 3), ("B", 1), ("C", 0))]
    value = {"instruction": "a", "responses": lacking}
    row = RawRow(source=Source(file="rows.jsonl", line=3), value=value)
    assert len(READERS["graded_answers"](row, reading)) == 1
    assert dict(reading.notes) == {"answers passed over: its scores do not tell the tier": 1}


def test_answers_may_be_graded_by_one_score() -> None:
    value = {
        "instruction": "a",
        "responses": [{"model": "A", "text": "x", "mark": 9}, {"model": "B", "text": "y", "mark": 4}],
    }
    columns = {"output": "text", "generator": "model", "score": "mark"}
    pair = read("graded_answers", value, columns=columns, grades={"gaps": (1, 3, 5)})
    assert (pair.chosen, pair.grade) == ("x", "significantly")


def test_a_labelled_answer_has_its_safety_and_no_partner() -> None:
    (answer,) = read_all("labelled", {"context": "a", "response": "b", "label": "Unsafe"})
    assert isinstance(answer, LabelledAnswer)
    assert (answer.answer, answer.safe, answer.prompt.turns[0].content) == ("b", False, "a")
    with pytest.raises(RowFault, match="outside its scale"):
        read_all("labelled", {"context": "a", "response": "b", "label": "perhaps"})


def test_a_greater_distance_is_never_a_lower_grade() -> None:
    order = [GRADES.index(grade_distance(distance)) for distance in range(1, 8)]
    assert all(a <= b for a, b in pairwise(order))
