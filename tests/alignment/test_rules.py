"""Every rule of an instruction: what keeps it and what does not, with the edges that writers argue about."""

from __future__ import annotations

import time

import pytest

from alignment.rules import LONGEST_MATCHED, RULES, Argument, Rule, argument_fault, holds, kept, sentences, words

LIST = "Here:\n1. flour\n2) bread"
# rule, argument, answers that keep it, answers that do not
CASES: tuple[tuple[Rule, Argument, tuple[str, ...], tuple[str, ...]], ...] = (
    ("ends_with", "my lady", ("Yes, my lady.", "my lady"), ("My lady, yes.", "lady")),
    ("starts_with", "Well", ("Well, no.", '"well" is a word'), ("Oh well.", "Wellington")),
    ("contains", "the mill", ("By the mill!", "The Mill"), ("the old mill", "the mills")),
    ("contains_twice", "tea", ("Tea, then tea.", "tea tea"), ("tea", "tea and teas")),
    ("never_word", "very", ("everyone", "Good."), ("Very good.",)),
    ("max_words", 3, ("one two three", "it's one-two"), ("one two three four",)),
    ("min_words", 3, ("one two three",), ("one two",)),
    ("max_sentences", 2, ("One. Two!", "3.5 is one"), ("One. Two. Three.",)),
    ("min_sentences", 2, ("One? Two", "One…\nTwo"), ("One, two.", "One. !")),
    ("sentences", 1, ("One.", "He said “no.”"), ("One. Two.", "a line\nanother")),
    ("numbered_list", 2, (LIST, "1. a\n2. b\n3. c"), ("1. a", "1. a\n3. b", "1. a 2. b", "2. a\n3. b")),
    ("bullet_list", 2, ("- a\n- b", "So:\n* a\n• b"), ("- a", "a - b - c", "-a\n-b")),
    ("closing", "That is all.", ("Yes. That is all.", "yes!\nthat is all"), ("That is all.", "Yes, that is all.")),
    (
        "greeting",
        "Good day",
        ("Good day, it is.", '"good day! Yes."'),
        ("Good day it is.", "Good day!", "Hi, good day"),
    ),
    ("uppercase", "", ("ALL 3 OF IT", "Ä"), ("ALl", "3")),
    ("lowercase", "", ("all 3 of it",), ("All", "3")),
    ("quoted", "", ('"Yes."', "“Yes, it's so.”", "'it's'"), ('"Yes," he said, "no"', '"Yes', "Yes", '""')),
    ("no_comma", "", ("Yes; no",), ("Yes, no",)),
    ("no_digit", "", ("two",), ("2 of it", "it٣")),
    ("question", "", ("Yes. And you?", '"And you?"'), ("Why? Because.",)),
    ("pattern", r"^In \d{4}\b", ("In 1987 it was.",), ("It was in 1987.", "In 19871")),
)


@pytest.mark.parametrize(("rule", "argument", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_tells_answers_that_keep_it_from_those_that_do_not(
    rule: Rule, argument: Argument, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    assert argument_fault(rule, argument) == ""
    assert [answer for answer in good if not kept(rule, argument, answer)] == []
    assert [answer for answer in (*bad, "", " ?! ") if kept(rule, argument, answer)] == []


def test_every_rule_is_tried_here() -> None:
    assert {case[0] for case in CASES} == set(RULES) - {"combined"}


def test_a_list_marker_and_a_decimal_point_end_no_sentence() -> None:
    assert sentences("1. One of 3.5 kilos.\n2. Two") == ["One of 3.5 kilos", "Two"]
    assert words("it's a well-known—thing_2") == ["it's", "a", "well-known", "thing", "2"]
    assert holds(["a", "a", "a"], ["a", "a"]) == 1


@pytest.mark.parametrize(
    ("rule", "argument", "said"),
    [
        ("min_words", 0, "takes a number from 1"),
        ("sentences", True, "takes a number from 1"),
        ("quoted", "yes", "takes none"),
        ("closing", "!", "takes a word or words"),
        ("pattern", "(", "no regular expression"),
        ("pattern", "a" * 201, "200 are the most"),
        ("pattern", "(a+)+$", "repeats a group"),
        ("pattern", "(a|aa)*$", "repeats a group"),
        ("pattern", "((ab?|b)c){2,9}", "repeats a group"),
        ("pattern", r"(a)\1", "refers back"),
        ("pattern", "a*b*c*", "repeats too much"),
        ("pattern", "(a?){1,9}" + "b{0,30}" * 7, "repeats too much"),
    ],
)
def test_an_argument_that_does_not_fit_is_told(rule: Rule, argument: Argument, said: str) -> None:
    assert said in argument_fault(rule, argument)


@pytest.mark.parametrize("pattern", [r"(?:Mr|Mrs)\. \w+", r"\(a+\)+", "[(a+)+]*", "(ab)+", r"^\w{1,20}, a?b+?"])
def test_an_expression_that_repeats_flatly_is_taken(pattern: str) -> None:
    assert argument_fault("pattern", pattern) == ""


def test_an_answer_too_long_for_an_expression_does_not_follow_it() -> None:
    assert kept("pattern", "a$", "a" * LONGEST_MATCHED)
    assert not kept("pattern", "a$", "a" * (LONGEST_MATCHED + 1))


def test_the_slowest_expression_that_is_taken_ends_soon() -> None:
    start = time.perf_counter()
    assert not kept("pattern", "a*b", "a" * LONGEST_MATCHED)
    assert time.perf_counter() - start < 5
