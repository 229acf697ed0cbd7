"""How varied answers are: phrases in use, and n-grams that answers share."""

from __future__ import annotations

import pytest

from alignment.evaluate.variety import repeated_ngrams, used


def test_phrases_used_alike_count_in_full_and_one_phrase_counts_as_one() -> None:
    phrases = ("Sure!", "Gladly!")
    both = used(["Sure! A.", "Gladly! B.", "C."], phrases, at="start")
    assert (both.effective, both.distinct, both.answers) == (pytest.approx(2.0), 2, 2)
    assert used(["Sure! A.", "Sure! B."], phrases, at="start").effective == pytest.approx(1.0)
    assert used(["A."], phrases, at="start").effective == 0.0


def test_a_phrase_counts_only_where_it_is_looked_for() -> None:
    assert used(["A. Bye."], ("Bye.",), at="end").answers == 1
    assert used(["Bye. A."], ("Bye.",), at="end").answers == 0
    assert used(["Bye. A."], ("Bye.",), at="anywhere").answers == 1


def test_answers_that_are_the_same_share_everything_and_strangers_nothing() -> None:
    assert repeated_ngrams(["a b c d e"] * 3) == pytest.approx(1.0)
    assert repeated_ngrams(["a b c d e", "f g h i j"]) < 1e-6


def test_self_bleu_is_the_geometric_mean_of_shared_n_grams() -> None:
    # of the first answer's words 3 of 4 stand in the other, of its pairs 2 of 3, of its triples 1 of 2
    one, other = "a b c d", "a b c x"
    by_hand = ((3 / 4) * (2 / 3) * (1 / 2)) ** (1 / 3)
    assert repeated_ngrams([one, other], longest=3) == pytest.approx(by_hand)


def test_a_word_said_twice_is_shared_as_often_as_another_answer_says_it() -> None:
    assert repeated_ngrams(["a a", "a b"], longest=1) == pytest.approx((0.5 + 0.5) / 2)
