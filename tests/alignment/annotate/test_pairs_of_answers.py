"""Pairs of a prompt's answers: of two variants, never the same text, none twice."""

from __future__ import annotations

from alignment.annotate.pairs import Way, draw_pairs

COLD, WARM = Way(variant="sft", temperature=0.5), Way(variant="sft", temperature=1.0)


def test_the_two_answers_of_a_pair_come_of_two_ways() -> None:
    pairs = draw_pairs({COLD: ["a", "b"], WARM: ["c", "d"]}, 99, seed=0, prompt="p")
    assert {frozenset((one.text, other.text)) for one, other in pairs.asked} == {
        frozenset(pair) for pair in (("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
    }
    assert all(one.way != other.way for one, other in pairs.asked)


def test_identical_and_repeated_pairs_are_counted_and_never_asked() -> None:
    pairs = draw_pairs({COLD: ["a", "a"], WARM: ["a", "b"]}, 99, seed=0, prompt="p")
    assert [{one.text, other.text} for one, other in pairs.asked] == [{"a", "b"}]
    assert (pairs.identical, pairs.repeated, pairs.drawn) == (2, 1, 4)


def test_no_more_are_drawn_than_asked_for_and_both_orders_are_shown() -> None:
    answers = {COLD: [f"a{i}" for i in range(8)], WARM: [f"b{i}" for i in range(8)]}
    pairs = draw_pairs(answers, 20, seed=0, prompt="p").asked
    assert len(pairs) == 20
    assert {one.way for one, _ in pairs} == {COLD, WARM}


def test_a_variant_without_a_usable_answer_makes_no_pair() -> None:
    assert draw_pairs({COLD: [], WARM: ["a"]}, 8, seed=0, prompt="p").drawn == 0
