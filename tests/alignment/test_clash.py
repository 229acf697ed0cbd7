"""Instructions that contradict each other: told in either order, and never of what one answer keeps."""

from __future__ import annotations

import pytest

from alignment.clash import Asked, clash
from alignment.rules import kept

CONTRADICT: tuple[tuple[Asked, Asked], ...] = (
    (("uppercase", ""), ("lowercase", "")),
    (("no_digit", ""), ("numbered_list", 2)),
    (("no_digit", ""), ("contains", "route 66")),
    (("never_word", "very"), ("closing", "Very well.")),
    (("starts_with", "Well"), ("greeting", "Hello")),
    (("ends_with", "sir"), ("closing", "That is all.")),
    (("closing", "Bye."), ("closing", "Good bye.")),
    (("max_words", 5), ("min_words", 6)),
    (("max_words", 1), ("starts_with", "you see")),
    (("max_words", 3), ("numbered_list", 2)),
    (("max_sentences", 1), ("closing", "That is all.")),
    (("sentences", 2), ("min_sentences", 3)),
    (("sentences", 1), ("bullet_list", 2)),
)
# with an answer that keeps both
AGREE: tuple[tuple[Asked, Asked, str], ...] = (
    (("starts_with", "well"), ("greeting", "Well now"), "Well now, it is."),
    (("ends_with", "all"), ("closing", "That is all."), "Yes. That is all."),
    (("quoted", ""), ("numbered_list", 2), '"Here:\n1. a\n2. b"'),
    (("never_word", "very well"), ("contains", "well"), "Well."),
    (("max_words", 4), ("numbered_list", 2), "1. a\n2. b"),
    (("sentences", 2), ("closing", "Bye."), "Yes. Bye."),
    (("uppercase", ""), ("contains_twice", "tea"), "TEA TEA"),
    (("question", ""), ("quoted", ""), '"And you?"'),
)


@pytest.mark.parametrize(("one", "other"), CONTRADICT)
def test_what_no_answer_keeps_is_told_in_either_order(one: Asked, other: Asked) -> None:
    assert clash(one, other)
    assert clash(other, one)


@pytest.mark.parametrize(("one", "other", "answer"), AGREE)
def test_what_an_answer_keeps_is_no_contradiction(one: Asked, other: Asked, answer: str) -> None:
    assert kept(*one, answer)
    assert kept(*other, answer)
    assert clash(one, other) == clash(other, one) == ""
